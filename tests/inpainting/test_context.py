"""Crop and stitch: which crops are painted, and that the rest of a picture keeps its bytes."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import prefpaint
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.context import Context, paint_patches, plan_contexts
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.photographs.crops import Box
from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL


@dataclass(frozen=True)
class Sized:
    """What a plan asks of a family."""

    native_size: int
    factor: int = 8
    patch: int = 1


SMALL = Sized(64)
FAST = SamplingConfig(steps=2, batch=4)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build_small_pipeline(TINY_MODEL, SIZE, seed=1)


def hole_of(shape: tuple[int, int], *boxes: Box) -> np.ndarray:
    hole = np.zeros(shape, np.uint8)
    for box in boxes:
        hole[box.top : box.bottom, box.left : box.right] = 1
    return hole


def places(contexts: list[Context]) -> list[tuple[Box, tuple[int, int]]]:
    return [(one.box, (one.height, one.width)) for one in contexts]


def test_a_small_hole_is_painted_at_the_pictures_own_resolution() -> None:
    hole = hole_of((100, 200), Box(100, 40, 110, 60))
    assert places(plan_contexts(hole, SMALL)) == [(Box(73, 18, 137, 82), (64, 64))]


def test_a_crop_is_twice_as_large_as_its_hole_and_stays_in_the_picture() -> None:
    hole = hole_of((300, 400), Box(0, 100, 80, 200))
    assert places(plan_contexts(hole, SMALL)) == [(Box(0, 50, 200, 250), (64, 64))]


def test_a_long_hole_gets_a_crop_half_as_wide_as_long() -> None:
    # Twice 300 is more than the picture has, so the crop is 400 wide; 64 · √2 = 90.5 and 45.3, in units of 8.
    hole = hole_of((300, 400), Box(50, 280, 350, 300))
    assert places(plan_contexts(hole, SMALL)) == [(Box(0, 100, 400, 300), (48, 88))]
    turned = plan_contexts(np.ascontiguousarray(hole.T), SMALL)
    assert places(turned) == [(Box(100, 0, 300, 400), (88, 48))]


def test_holes_far_apart_have_crops_of_their_own_and_large_ones_come_first() -> None:
    small, large = Box(10, 10, 20, 20), Box(200, 100, 300, 200)
    contexts = plan_contexts(hole_of((300, 400), small, large), SMALL)
    assert [one.box for one in contexts] == [Box(150, 50, 350, 250), Box(0, 0, 64, 64)]
    assert [int(one.hole.sum()) for one in contexts] == [10_000, 100]


def test_a_hole_well_inside_the_crop_of_another_is_painted_with_it() -> None:
    large = Box(100, 100, 200, 200)
    # The crop reaches to column 250, an eighth of 200 beyond the second hole.
    near = plan_contexts(hole_of((300, 400), large, Box(224, 150, 225, 151)), SMALL)
    assert places(near) == [(Box(50, 50, 250, 250), (64, 64))] and near[0].hole.sum() == 10_001
    apart = plan_contexts(hole_of((300, 400), large, Box(226, 150, 227, 151)), SMALL)
    assert [int(one.hole.sum()) for one in apart] == [10_000, 1]


def test_many_specks_take_few_crops() -> None:
    specks = [Box(x, y, x + 2, y + 2) for x in range(10, 400, 40) for y in range(10, 300, 40)]
    contexts = plan_contexts(hole_of((300, 400), *specks), Sized(256))
    assert len(specks) == 80 and len(contexts) <= 8


@st.composite
def holes(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    hole = np.zeros((height, width), np.uint8)
    for _ in range(draw(st.integers(1, 6))):
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        hole[top : top + draw(st.integers(1, 80)), left : left + draw(st.integers(1, 80))] = 1
    return hole


@settings(deadline=None, max_examples=150)
@given(hole=holes(), side=st.sampled_from([16, 32, 64]), context=st.sampled_from([1.0, 1.5, 3.0]))
def test_every_pixel_of_the_holes_is_filled_by_one_crop(hole: np.ndarray, side: int, context: float) -> None:
    filled = np.zeros(hole.shape, int)
    for one in plan_contexts(hole, Sized(side), context):
        assert one.of(hole).shape == one.hole.shape and one.hole.any()
        assert one.height % 8 == one.width % 8 == 0 and min(one.height, one.width) >= 8
        one.of(filled)[...] += one.hole
    np.testing.assert_array_equal(filled, hole)


def picture(height: int = 90, width: int = 150) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def fill(pipe: Any, image: np.ndarray, hole: np.ndarray, **more: Any) -> np.ndarray:
    mask = Image.fromarray(hole * np.uint8(255))
    return np.asarray(prefpaint.inpaint(pipe, Image.fromarray(image), mask, sampling=FAST, **more))


def test_pixels_outside_the_band_are_the_pictures_own(pipe: Any) -> None:
    image = picture()
    hole = hole_of(image.shape[:2], Box(20, 20, 60, 70), Box(130, 5, 140, 12))
    filled = fill(pipe, image, hole)
    contexts = plan_contexts(hole, Sized(SIZE))
    allowed = np.zeros(hole.shape, bool)
    for one in contexts:
        grown = np.argwhere(one.hole)
        for y, x in np.argwhere(one.of(allowed) == 0):
            near = np.hypot(*(grown - (y, x)).T).min() <= one.feather
            one.of(allowed)[y, x] |= near
    changed = (filled != image).any(2)
    assert len(contexts) == 2 and not changed[~allowed].any()
    # Of noise, by an untrained model, next to no pixel stays as it was.
    assert changed[hole > 0].mean() > 0.95


def test_what_lies_in_the_holes_is_not_seen(pipe: Any) -> None:
    image = picture()
    hole = hole_of(image.shape[:2], Box(20, 20, 60, 70), Box(65, 20, 70, 70))
    other = np.where(hole[..., None] > 0, 255 - image, image)
    np.testing.assert_array_equal(fill(pipe, image, hole), fill(pipe, other, hole))


def test_the_same_seed_gives_the_same_bytes(pipe: Any) -> None:
    image = picture()
    hole = hole_of(image.shape[:2], Box(20, 20, 60, 70))
    first = fill(pipe, image, hole, seed=3)
    np.testing.assert_array_equal(fill(pipe, image, hole, seed=3), first)
    assert (fill(pipe, image, hole, seed=4) != first).any()
    assert (fill(pipe, image, hole, seed=3, context=3.0) != first).any()


def test_the_words_are_the_models(pipe: Any) -> None:
    image = picture()
    hole = hole_of(image.shape[:2], Box(20, 20, 60, 70))
    assert (fill(pipe, image, hole, text="a cat") != fill(pipe, image, hole)).any()


@pytest.mark.parametrize("size", [(40, 24), (24, 300), (32, 32)])
def test_pictures_smaller_or_longer_than_the_model(pipe: Any, size: tuple[int, int]) -> None:
    image = picture(*size)
    hole = hole_of(image.shape[:2], Box(4, 4, 16, 12))
    filled = fill(pipe, image, hole)
    assert filled.shape == image.shape and (filled != image).any()


def test_pictures_and_masks_of_other_modes(pipe: Any) -> None:
    image = Image.fromarray(picture()).convert("LA")
    mask = Image.fromarray(hole_of((90, 150), Box(20, 20, 60, 70)) * np.uint8(255)).convert("1")
    filled = prefpaint.inpaint(pipe, image, mask, sampling=FAST)
    assert filled.mode == "RGB" and filled.size == image.size


@pytest.mark.parametrize(
    ("hole", "message"),
    [
        (np.zeros((90, 150), np.uint8), "the mask has no hole"),
        (np.ones((90, 150), np.uint8), "the mask covers everything"),
        (np.ones((150, 90), np.uint8), "the mask has 90 × 150 pixels and the picture 150 × 90"),
        (1 - hole_of((90, 150), Box(0, 0, 1, 1)), "leaves too little of the picture"),
    ],
)
def test_what_cannot_be_filled_is_one_sentence(pipe: Any, hole: np.ndarray, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message):
        fill(pipe, picture(), hole)


def test_a_mask_must_not_be_transparent(pipe: Any) -> None:
    strokes = np.zeros((90, 150, 4), np.uint8)
    strokes[20:60, 20:70] = 255
    with pytest.raises(PrefPaintError, match="the mask is partly transparent; save the mask without transparency"):
        prefpaint.inpaint(pipe, Image.fromarray(picture()), Image.fromarray(strokes), sampling=FAST)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, np.float32])
def test_masks_of_other_depths(pipe: Any, dtype: type) -> None:
    hole = hole_of((90, 150), Box(20, 20, 60, 70))
    mask = Image.fromarray((hole * 255).astype(dtype))
    filled = prefpaint.inpaint(pipe, Image.fromarray(picture()), mask, sampling=FAST)
    np.testing.assert_array_equal(np.asarray(filled), fill(pipe, picture(), hole))


@pytest.mark.parametrize("context", [0.5, -1.0, float("nan"), float("inf")])
def test_a_crop_is_no_smaller_than_its_hole(pipe: Any, context: float) -> None:
    with pytest.raises(PrefPaintError, match=r"context: is .*; give 1 or more"):
        fill(pipe, picture(), hole_of((90, 150), Box(20, 20, 60, 70)), context=context)


def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, prefpaint; assert 'numpy' not in sys.modules; prefpaint.inpaint; assert 'numpy' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="has no attribute 'outpaint'"):
        prefpaint.outpaint  # noqa: B018


def test_one_of_several_fills_is_kept_before_the_next_crop_is_painted(pipe: Any) -> None:
    image = picture()
    hole = hole_of(image.shape[:2], Box(20, 20, 60, 70), Box(130, 5, 140, 12))
    inpainter = Inpainter(pipe, FAST, "cpu")
    seen: list[np.ndarray] = []

    def choose(fills: np.ndarray, filled: np.ndarray, text: str) -> int:
        assert fills.shape == (3, *filled.shape, 3) and text == "a cat"
        assert (fills[0][filled == 0] == fills[2][filled == 0]).all() and (fills[0] != fills[2]).any()
        seen.append(fills)
        return 2

    patches = list(paint_patches(inpainter, image, hole, 5, "a cat", samples=3, choose=choose))
    assert len(patches) == len(seen) == 2
    for patch, fills in zip(patches, seen, strict=True):
        np.testing.assert_array_equal(patch.painted, fills[2])
    # The first fill does not depend on how many there are; FAST's batch holds all three, so its last bits may.
    alone = next(paint_patches(inpainter, image, hole, 5, "a cat"))
    assert np.abs(alone.painted.astype(int) - seen[0][0]).max() <= 1


@pytest.mark.parametrize("samples", [0, -1, 2])
def test_several_fills_need_something_that_chooses(pipe: Any, samples: int) -> None:
    message = "nothing chooses among that many fills" if samples > 1 else "a hole needs a fill; give 1 or more"
    hole = hole_of((90, 150), Box(20, 20, 60, 70))
    with pytest.raises(PrefPaintError, match=f"samples: is {samples}, and {message}"):
        next(paint_patches(Inpainter(pipe, FAST, "cpu"), picture(), hole, 0, samples=samples))
