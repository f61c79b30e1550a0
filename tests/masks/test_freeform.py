"""Holes as people make them: their share of the picture is as stated, and they are what their names say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import kstest

from prefpaint.masks.config import MaskConfig
from prefpaint.masks.freeform import box_mask, brush_mask
from prefpaint.masks.objects import object_mask, regions_by_colour
from prefpaint.masks.prompts import first_draw, make_prompt

fractions = st.tuples(st.floats(0.02, 0.9), st.floats(0.02, 0.9)).map(lambda pair: (min(pair), max(pair)))


shapes = st.sampled_from([(16, 16), (32, 32), (48, 48), (16, 64), (48, 24)])


@given(shapes, fractions, st.integers(0, 10**6))
def test_a_brushs_share_is_met_to_the_pixel(shape: tuple[int, int], fraction: tuple[float, float], seed: int) -> None:
    mask = brush_mask(shape, fraction, np.random.default_rng(seed))
    wanted = np.random.default_rng(seed).uniform(*fraction) * shape[0] * shape[1]
    assert mask.shape == shape and mask.dtype == np.uint8 and mask.sum() == max(1, round(wanted))


@given(shapes, fractions, st.integers(0, 10**6))
def test_a_box_is_one_box_of_about_its_share(shape: tuple[int, int], fraction: tuple[float, float], seed: int) -> None:
    mask = box_mask(shape, fraction, np.random.default_rng(seed))
    rows, columns = mask.any(1), mask.any(0)
    assert mask.shape == shape and mask.sum() == rows.sum() * columns.sum() > 0
    assert len(ndimage.find_objects(mask)) == 1
    wanted = np.random.default_rng(seed).uniform(*fraction) * shape[0] * shape[1]
    # Rounding of a side, and boxes so long that a side of the picture ends them.
    rounding = max(rows.sum(), columns.sum()) / 2 + 1
    assert abs(mask.sum() - wanted) <= rounding or columns.sum() == shape[1] - 1 or shape[0] == shape[1]


@pytest.mark.parametrize("make", [box_mask, brush_mask])
def test_shares_are_uniform(make: object) -> None:
    rng = np.random.default_rng(0)
    shares = [make((64, 64), (0.1, 0.4), rng).mean() for _ in range(300)]  # type: ignore[operator]
    assert kstest(shares, "uniform", (0.1, 0.3)).pvalue > 0.01


def picture() -> np.ndarray:
    """A red disc and a blue box on grey, with a little noise."""
    image = np.full((48, 48, 3), 128, np.int64)
    ys, xs = np.mgrid[:48, :48]
    image[(ys - 14) ** 2 + (xs - 14) ** 2 < 100] = (200, 30, 30)
    image[30:44, 26:46] = (20, 40, 200)
    return (image + np.random.default_rng(0).integers(-4, 5, image.shape)).clip(0, 255).astype(np.uint8)


def test_regions_of_even_colour_are_the_things_in_a_picture() -> None:
    segments = regions_by_colour(picture())
    disc, box = segments[14, 14], segments[36, 36]
    assert len({disc, box, segments[2, 40]}) == 3
    assert (segments == disc).sum() == pytest.approx(314, rel=0.1) and (segments == box).sum() == pytest.approx(
        280, rel=0.1
    )


def test_an_object_is_a_segment_and_grows_by_its_likest_neighbour() -> None:
    # Three bands of grey; the middle one is closer to the left.
    segments = np.repeat([[0, 1, 2]], 30, 0).repeat(10, 1)
    image = np.array([100, 120, 200], np.uint8)[segments][..., None].repeat(3, 2)
    found = {}
    for seed in range(40):
        mask = object_mask(image, segments, (0.3, 0.34), np.random.default_rng(seed))
        for wide in (object_mask(image, segments, (0.6, 0.7), np.random.default_rng(seed)),):
            found[tuple(sorted(set(segments[mask == 1])))] = tuple(sorted(set(segments[wide == 1])))
            assert wide.mean() == pytest.approx(2 / 3)
        assert mask.mean() == pytest.approx(1 / 3)
    assert found == {(0,): (0, 1), (1,): (0, 1), (2,): (1, 2)}


@given(st.integers(0, 10**6))
def test_an_objects_share_is_within_its_range(seed: int) -> None:
    image = picture()
    mask = object_mask(image, regions_by_colour(image), (0.1, 0.4), np.random.default_rng(seed))
    # Cut shares are rounded to a pixel.
    assert 0.1 - 1 / mask.size <= mask.mean() <= 0.4 + 1 / mask.size


@pytest.mark.parametrize("pattern", ["box", "brush", "object"])
def test_a_prompt_keeps_its_original_and_depends_on_its_seed_alone(pattern: str) -> None:
    crop, depth = picture(), np.ones((48, 48))
    one, same, other = (make_prompt(crop, depth, pattern, MaskConfig(), seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
    np.testing.assert_array_equal(one.image, crop)
    np.testing.assert_array_equal(one.mask, same.mask)
    assert (one.mask != other.mask).any()
    draws = [first_draw((48, 48), pattern, MaskConfig(), seed) for seed in (1, 1, 2)]  # type: ignore[arg-type]
    assert draws[0] == draws[1] != draws[2]
