"""Spoiled fills: the hole changes, the rest never, and each kind does what it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.fills import spoiled
from prefpaint.masks.outpainting import square_mask, strip_mask

SIZE = 64


def picture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, SIZE)
    image = ramp[None, :, None] * rng.uniform(0.5, 1, 3) + 20 * np.sin(np.arange(SIZE) / 3)[:, None, None]
    return np.clip(image + rng.normal(0, 6, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)


@given(st.sampled_from(sorted(spoiled.SPOILS)), st.booleans(), st.integers(0, 2**31))
def test_known_pixels_stay_and_the_hole_is_painted(kind: str, strip: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = picture(seed)
    mask = strip_mask((SIZE, SIZE), (0.35, 0.4), rng) if strip else square_mask((SIZE, SIZE), (0.15, 0.25), rng)
    result = spoiled.SPOILS[kind](image, mask, rng)
    assert result.shape == image.shape and result.dtype == np.uint8
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])
    assert (result[mask > 0] != image[mask > 0]).any()


@pytest.mark.parametrize("kind", sorted(spoiled.SPOILS))
def test_a_ragged_hole_too(kind: str) -> None:
    image, mask = picture(), np.zeros((SIZE, SIZE), np.uint8)
    mask[np.random.default_rng(0).random((SIZE, SIZE)) < 0.1] = 1
    mask[20:30, 5:40] = 1
    result = spoiled.SPOILS[kind](image, mask, np.random.default_rng(1))
    np.testing.assert_array_equal(result[mask == 0], image[mask == 0])


def test_mirrored_by_hand() -> None:
    image = np.zeros((1, 6, 3), np.uint8)
    image[0, :, 0] = [9, 9, 1, 2, 3, 9]
    mask = np.array([[1, 1, 0, 0, 0, 1]], np.uint8)
    assert spoiled.mirrored(image, mask)[0, :, 0].tolist() == [2, 1, 1, 2, 3, 3]


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_mirror_shows_known_pixels_and_leaves_them_where_they_are(seed: int, hole: float) -> None:
    mask = (np.random.default_rng(seed).random((9, 11)) < hole).astype(np.uint8)
    source, own = spoiled.mirror_source(mask), np.arange(mask.size).reshape(mask.shape)
    np.testing.assert_array_equal(source[mask == 0], own[mask == 0])
    if mask.all():
        np.testing.assert_array_equal(source, own)
    else:
        assert not mask.flat[source].any()


def test_shifted_blurred_and_scaled_by_hand() -> None:
    image = np.zeros((5, 5, 3), np.uint8)
    image[2, 2] = 100
    mask = np.ones((5, 5), np.uint8)
    assert spoiled.shifted(image, mask, 1, -2)[3, 0, 0] == 100
    assert spoiled.scaled(image, mask, 0.8)[2, 2, 0] == 80
    assert spoiled.blurred(image, mask, 1.0)[2, 2, 0] == pytest.approx(100 * 0.1592, abs=1)


def test_hue_turned_by_a_third_swaps_the_channels() -> None:
    image = np.tile(np.array([200, 40, 40], np.uint8), (4, 4, 1))
    turned = spoiled.hue_turned(image, np.ones((4, 4), np.uint8), 120)
    np.testing.assert_array_equal(turned[0, 0], [40, 200, 40])
