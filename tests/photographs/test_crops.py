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
    cut_hole,
    cut_map,
    regions_of,
    sample_crop,
    sample_crop_around,
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
            crop = sample_crop(box, (64, 64), (8, 160), rng)
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
    assert sample_crop(Box(10, 0, 40, 20), (64, 64), (0, 0), rng) == Box(15, 0, 35, 20)


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
        assert (cut(image, Box(10, 10, 30, 30), (size, size)) == 7).all()


def test_depth_is_cut_by_nearest_pixel() -> None:
    depth = np.where(np.arange(40) < 20, 1.0, 3.0)[None].repeat(40, 0)
    assert set(np.unique(cut_map(depth, Box(0, 0, 40, 40), (16, 16)))) == {1.0, 3.0}


SHAPES = st.sampled_from([(64, 64), (32, 96), (96, 40), (48, 64)])


@given(SIDES, SIDES, SHAPES, st.sampled_from([(0, 0), (8, 160), (200, 300)]), st.integers(0, 2**32))
def test_crops_have_the_wanted_shape(
    width: int, height: int, shape: tuple[int, int], sides: tuple[int, int], seed: int
) -> None:
    region = Box(5, 7, 5 + width, 7 + height)
    crop = sample_crop(region, shape, sides, np.random.default_rng(seed))
    assert region.left <= crop.left < crop.right <= region.right
    assert region.top <= crop.top < crop.bottom <= region.bottom
    long = max(crop.height, crop.width)
    assert (crop.height, crop.width) == tuple(max(1, long * side // max(shape)) for side in shape)


def test_the_largest_crop_of_a_shape_by_hand() -> None:
    rng = np.random.default_rng(0)
    assert sample_crop(Box(0, 0, 100, 100), (32, 64), (0, 0), rng) == Box(0, 25, 100, 75)
    assert sample_crop(Box(0, 0, 300, 50), (32, 64), (0, 0), rng) == Box(100, 0, 200, 50)


def test_native_crops_are_whole_but_for_a_rim() -> None:
    rng = np.random.default_rng(0)
    assert sample_crop(Box(10, 20, 110, 90), None, (80, 160), rng) == Box(12, 23, 108, 87)
    hole = Box(20, 30, 25, 35)
    assert sample_crop_around(Box(10, 20, 110, 90), hole, (20, 30), None, (80, 160), rng) == Box(12, 23, 108, 87)


@given(SIDES, SIDES, SHAPES, st.sampled_from([(0, 0), (8, 160)]), st.data())
def test_a_hole_that_fits_is_whole_in_its_crop(
    width: int, height: int, shape: tuple[int, int], sides: tuple[int, int], data: st.DataObject
) -> None:
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    hole = Box(left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    region, rng = Box(0, 0, width, height), np.random.default_rng(data.draw(st.integers(0, 2**32)))
    crop = sample_crop_around(region, hole, (left, top), shape, sides, rng)
    assert 0 <= crop.left < crop.right <= width and 0 <= crop.top < crop.bottom <= height
    assert crop.left <= left < crop.right and crop.top <= top < crop.bottom
    if hole.width <= crop.width:
        assert crop.left <= hole.left and hole.right <= crop.right
    if hole.height <= crop.height:
        assert crop.top <= hole.top and hole.bottom <= crop.bottom


def test_cuts_of_any_shape() -> None:
    image = np.arange(40 * 60 * 3, dtype=np.int64).reshape(40, 60, 3).astype(np.uint8)
    box = Box(10, 4, 58, 36)
    np.testing.assert_array_equal(cut(image, box, (32, 48)), image[4:36, 10:58])
    assert cut(image, box, (16, 24)).shape == (16, 24, 3)
    np.testing.assert_array_equal(cut_map(image[..., 0], box, (32, 48)), image[4:36, 10:58, 0])
    hole = np.zeros((40, 60), np.uint8)
    hole[35, 57] = 1
    assert np.argwhere(cut_hole(hole, box, (16, 24))).tolist() == [[15, 23]]
