"""Kept squares and strips by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.masks.outpainting import square_mask, strip_mask

SEEDS = st.integers(0, 2**32)


@given(st.sampled_from([32, 64, 128, 512]), SEEDS)
def test_squares_keep_the_published_area(size: int, seed: int) -> None:
    mask = square_mask((size, size), (0.15, 0.25), np.random.default_rng(seed))
    kept = mask == 0
    assert 0.15 <= kept.mean() <= 0.25
    rows, columns = np.nonzero(kept)
    side = np.ptp(rows) + 1
    assert side == np.ptp(columns) + 1 and kept.sum() == side**2


@given(st.sampled_from([32, 64, 128, 512]), SEEDS)
def test_strips_keep_the_published_width_at_full_height(size: int, seed: int) -> None:
    mask = strip_mask((size, size), (0.35, 0.40), np.random.default_rng(seed))
    kept = mask == 0
    assert (kept == kept[:1]).all(), "full height"
    assert 0.35 <= kept.mean() <= 0.40
    columns = np.nonzero(kept[0])[0]
    assert np.ptp(columns) + 1 == len(columns)


@pytest.mark.parametrize(("area", "side"), [((0.25, 0.25), 32), ((0.0625, 0.0625), 16)])
def test_kept_area_by_hand(area: tuple[float, float], side: int) -> None:
    mask = square_mask((64, 64), area, np.random.default_rng(0))
    assert (mask == 0).sum() == side * side


def test_kept_width_by_hand() -> None:
    # 0.375 of 64 columns are 24: 24 · 64 known pixels, 40 · 64 missing.
    mask = strip_mask((64, 64), (0.375, 0.375), np.random.default_rng(0))
    assert (mask == 0).sum() == 24 * 64 and mask.sum() == 40 * 64


def test_squares_reach_every_corner() -> None:
    rng = np.random.default_rng(0)
    corners = np.zeros(4, bool)
    for _ in range(500):
        mask = square_mask((16, 16), (0.2, 0.25), rng)
        corners |= mask[[0, 0, -1, -1], [0, -1, 0, -1]] == 0
    assert corners.all()


@given(st.sampled_from([(32, 96), (96, 32), (48, 64)]), SEEDS)
def test_what_is_kept_in_pictures_that_are_not_square(shape: tuple[int, int], seed: int) -> None:
    kept = square_mask(shape, (0.15, 0.25), np.random.default_rng(seed)) == 0
    rows, columns = kept.any(1).sum(), kept.any(0).sum()
    assert kept.shape == shape and rows == columns and kept.sum() == rows * columns
    assert 0.15 <= kept.mean() <= 0.25
    strip = strip_mask(shape, (0.35, 0.40), np.random.default_rng(seed)) == 0
    assert strip.shape == shape and (strip == strip[:1]).all() and 0.34 <= strip.mean() <= 0.41


def test_a_square_is_no_larger_than_its_picture() -> None:
    # A quarter of 16 × 256 is a square of 32, which the picture has no room for.
    kept = square_mask((16, 256), (0.25, 0.25), np.random.default_rng(0)) == 0
    assert kept.sum() == 16 * 16
