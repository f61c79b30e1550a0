"""Splits share no pixel, crops stay where they belong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.crops import (
    LEAST_TO_DIVIDE,
    Box,
    assign_splits,
    cut,
    cut_map,
    regions_of,
    sample_crop,
    split_regions,
)

SHARES = {"train": 0.66, "validation": 0.12, "test": 0.22}
SIDES = st.integers(16, 700)


@given(SIDES, SIDES)
def test_the_regions_of_a_photograph_tile_it(width: int, height: int) -> None:
    count = np.zeros((height, width), int)
    for box in split_regions(width, height, SHARES).values():
        assert box.width > 0 and box.height > 0
        count[box.top : box.bottom, box.left : box.right] += 1
    assert (count == 1).all()


@given(SIDES, SIDES, st.integers(0, 2**32))
def test_crops_of_different_splits_share_no_pixel(width: int, height: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = np.zeros((height, width), int)
    for box in split_regions(width, height, SHARES).values():
        touched = np.zeros_like(seen)
        for _ in range(5):
            crop = sample_crop(box, (8, 160), rng)
            assert crop.width == crop.height > 0
            touched[crop.top : crop.bottom, crop.left : crop.right] = 1
        seen += touched
    assert seen.max() <= 1


def test_split_regions_by_hand() -> None:
    # 100 wide, 68 high: train the left 66 columns; of the other 34, validation the upper 0.12/0.34 of 68 rows.
    assert split_regions(100, 68, SHARES) == {
        "train": Box(0, 0, 66, 68),
        "validation": Box(66, 0, 100, 24),
        "test": Box(66, 24, 100, 68),
    }
    assert split_regions(68, 100, SHARES)["validation"] == Box(0, 66, 24, 100)


def test_the_largest_centred_square() -> None:
    rng = np.random.default_rng(0)
    assert sample_crop(Box(10, 0, 40, 20), (0, 0), rng) == Box(15, 0, 35, 20)


@given(st.integers(2, 200), st.floats(0.01, 0.9), st.integers(0, 9))
def test_every_folder_has_photographs_for_every_split(count: int, unseen: float, seed: int) -> None:
    splits = assign_splits(count, SHARES, unseen, seed)
    assert len(splits) == count and abs(splits.count("unseen") - unseen * count) <= 1
    rated = [split for split in splits if split != "unseen"]
    if len(rated) < LEAST_TO_DIVIDE:
        assert set(rated) == {None}, "few photographs are cut into regions"
    else:
        assert set(rated) == set(SHARES)
        assert abs(rated.count("test") - 0.22 * len(rated)) <= 1


def test_a_single_photograph_is_too_few() -> None:
    with pytest.raises(PrefPaintError, match="give at least two"):
        assign_splits(1, SHARES, 0.3, 0)


def test_regions_of_a_photograph() -> None:
    assert regions_of(30, 20, "test", SHARES) == {"test": Box(0, 0, 30, 20)}
    assert regions_of(100, 68, None, SHARES) == split_regions(100, 68, SHARES)


def test_cut_reads_no_pixel_outside_its_box() -> None:
    image = np.full((50, 50, 3), 255, np.uint8)
    image[10:30, 10:30] = 7
    for size in (8, 64):
        assert (cut(image, Box(10, 10, 30, 30), size) == 7).all()


def test_depth_is_cut_by_nearest_pixel() -> None:
    depth = np.where(np.arange(40) < 20, 1.0, 3.0)[None].repeat(40, 0)
    assert set(np.unique(cut_map(depth, Box(0, 0, 40, 40), 16))) == {1.0, 3.0}
