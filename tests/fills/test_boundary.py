"""Steps across a hole's edge by hand, whichever way round the picture is held."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefpaint.fills import boundary as module
from prefpaint.fills.appearance import appearance
from prefpaint.fills.boundary import Boundary, boundary

# Half of the picture is the hole, which so touches the border on three sides.
HALF = np.zeros((32, 32), np.uint8)
HALF[:, 16:] = 1


def measured(image: np.ndarray, mask: np.ndarray = HALF) -> tuple[float, float]:
    found = boundary(image[None].astype(np.uint8), mask[None])
    return float(found.seam_ratio[0]), float(found.colour_step[0])


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, 2)


def test_a_step_between_two_flat_halves() -> None:
    seam, step = measured(grey(np.where(HALF > 0, 160, 100)))
    # 60 grey levels across; beside the edge nothing but the floor of 1.5.
    assert seam == pytest.approx(np.sqrt((60**2 + 1.5**2) / 1.5**2), rel=1e-5)
    assert step == pytest.approx(60, rel=1e-5)


def test_a_step_in_a_striped_picture() -> None:
    stripes = 20 * (np.arange(32) % 2)[:, None]
    seam, step = measured(grey(100 + stripes + np.where(HALF > 0, 60, 0)))
    # Three columns on either side: 6 x 31 steps of 20 down them, and 2 x 2 x 32 of 0 along the rows.
    beside = 6 * 31 * 20**2 / (6 * 31 + 4 * 32)
    assert seam == pytest.approx(np.sqrt((60**2 + 1.5**2) / (beside + 1.5**2)), rel=1e-5)
    # The same windows of stripes inside and outside.
    assert step == pytest.approx(60, rel=1e-5)


def test_a_colour_step_counts_its_channels_by_root_mean_square() -> None:
    image = np.full((32, 32, 3), 100)
    image[:, 16:] += np.array([30, 0, 60])
    assert measured(image)[1] == pytest.approx(np.sqrt((30**2 + 60**2) / 3), rel=1e-5)


def test_what_goes_on_through_the_edge_has_no_seam() -> None:
    # Means of 49 pixels round in float32.
    assert measured(np.full((32, 32, 3), 90)) == pytest.approx((1.0, 0.0), abs=1e-4)
    ramp = grey(3 * np.add.outer(np.arange(32), np.arange(32)))
    seam, step = measured(ramp)
    assert seam == pytest.approx(1, rel=1e-5)
    # Of pixels at distances 0 to 3 inside and 1 to 3 outside: 1.5 and -2, so 3.5 steps of 3.
    assert step == pytest.approx(3.5 * 3, rel=1e-5)


def test_a_blurred_edge_is_smoother_than_what_is_beside_it() -> None:
    noise = np.random.default_rng(0).integers(60, 200, (32, 32, 3))
    blurred = noise.copy()
    blurred[:, 15:17] = noise.mean()
    assert measured(blurred)[0] < 0.5 < 0.8 < measured(noise)[0] < 1.25


@pytest.mark.parametrize("value", [0, 1], ids=["no hole", "nothing but hole"])
def test_without_an_edge_there_is_no_number(value: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    masks = np.stack([np.full((16, 16), value, np.uint8), HALF[:16, 8:24]])
    found = boundary(images, masks)
    for values in (found.log_ratio, found.seam_ratio, found.colour_step):
        assert np.isnan(values).tolist() == [True, False]


PICTURES = arrays(np.uint8, (2, 9, 9, 3), elements=st.integers(0, 255))
MASKS = arrays(np.uint8, (2, 9, 9), elements=st.integers(0, 1))
TURNS = {
    "mirrored": lambda values: values[:, :, ::-1],
    "upside down": lambda values: values[:, ::-1],
    "transposed": lambda values: values.swapaxes(1, 2),
}


def same(found: Boundary, expected: Boundary) -> None:
    # Sums in another order, in float32.
    np.testing.assert_allclose(found.log_ratio, expected.log_ratio, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.colour_step, expected.colour_step, rtol=1e-4, atol=1e-3)


@given(PICTURES, MASKS, st.sampled_from(sorted(TURNS)))
def test_it_does_not_matter_how_the_picture_is_held(images: np.ndarray, masks: np.ndarray, how: str) -> None:
    turn = TURNS[how]
    same(boundary(turn(images), turn(masks)), boundary(images, masks))


@given(PICTURES, MASKS)
def test_hole_and_surroundings_see_the_same_seam(images: np.ndarray, masks: np.ndarray) -> None:
    np.testing.assert_allclose(
        boundary(images, 1 - masks).log_ratio, boundary(images, masks).log_ratio, rtol=1e-4, atol=1e-4
    )


@given(PICTURES, MASKS)
def test_simulated_raters_see_the_same_edge(images: np.ndarray, masks: np.ndarray) -> None:
    """They see no seam where the edge is smoother than beside it, and none where there is no edge."""
    seen, found = appearance(images, masks), boundary(images, masks)
    np.testing.assert_array_equal(seen.seam.numpy(), np.nan_to_num(np.maximum(found.log_ratio, 0)))
    np.testing.assert_allclose(seen.colour.numpy() * 255 / np.sqrt(3), np.nan_to_num(found.colour_step), rtol=1e-6)


def test_it_does_not_matter_how_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8), rng.integers(0, 2, (5, 16, 16))
    whole = boundary(images, masks.astype(np.uint8))
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 2 * 16 * 16)
    same(boundary(images, masks.astype(np.uint8)), whole)
