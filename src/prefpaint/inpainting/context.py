"""Crop and stitch: a model of one size fills holes in pictures of any size.

The model paints a crop around each hole, large enough to show what surrounds it; the fill is brought back to the
picture's resolution and blended in over a narrow band. The rest of the picture keeps its bytes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.config import sample_seeds
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.sizes import painted_shape, resized_hole, resized_image
from prefpaint.photographs.crops import Box
from prefpaint.photographs.shapes import mask_grey

# A crop is so many times as large as its hole, so that a fill has something to continue.
CONTEXT = 2.0
# Where the picture is too small for a square, the short side is not made smaller than this allows: models have seen
# squares.
LONGEST_ASPECT = 2.0
# Width of the blended band around a hole, as a share of the model's size: 8 px at 512.
FEATHER = 1 / 64
# Parts of the model's size on which holes are told apart: in neighbouring ones they see each other anyway.
TILES = 4
# A hole is painted in a crop of another if at least this share of the crop's side lies around it.
MARGIN = 1 / 8

# Of S fills of one crop, the number of the one to keep: given (S, H, W, 3) uint8 with holes filled, their (H, W) uint8
# hole, 1 where the fill is, and the words.
Choose = Callable[[np.ndarray, np.ndarray, str], int]


@dataclass(frozen=True)
class Context:
    """A crop that the model sees.

    Attributes:
        box: of the picture, pixels.
        hole: (box.height, box.width) uint8, 1 where this crop fills the picture; it may show other holes.
        height, width: at which it is painted; multiples of the family's unit.
    """

    box: Box
    hole: np.ndarray
    height: int
    width: int

    def of(self, image: np.ndarray) -> np.ndarray:
        """The crop of a picture, (H, W, ...), or of its mask: a view."""
        return image[self.box.top : self.box.bottom, self.box.left : self.box.right]

    @property
    def feather(self) -> int:
        """Width of the blended band in pixels of the picture."""
        return max(1, round(FEATHER * math.sqrt(self.box.width * self.box.height)))


@dataclass(frozen=True)
class Patch:
    """A crop with its hole filled.

    Attributes:
        context: where it belongs.
        painted: (h, w, 3) uint8, as the model painted it.
        hole: (h, w) uint8, 1 where the model painted.
        pixels: (H, W, 4) uint8 RGBA, what belongs at `context.box` of the picture: where alpha is 255 the fill, blended
            with what was there in the band; nothing where alpha is 0.
    """

    context: Context
    painted: np.ndarray
    hole: np.ndarray
    pixels: np.ndarray


def read_hole(mask: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    """A mask as (H, W) uint8, 1 where to repaint.

    Args:
        mask: any mode, bright where to repaint.
        shape: (H, W) of the picture, upright.

    Raises:
        PrefPaintError: it has another size, no hole, nothing but a hole, or is partly transparent.
    """
    height, width = shape
    try:
        grey = mask_grey(mask)
    except PrefPaintError as error:
        raise PrefPaintError(f"the mask {error}") from error
    if grey.shape != (height, width):
        raise PrefPaintError(
            f"the mask has {grey.shape[1]} × {grey.shape[0]} pixels and the picture {width} × {height}; give a "
            "mask of the picture's size"
        )
    hole = (grey >= 0.5).astype(np.uint8)
    if not hole.any():
        raise PrefPaintError("the mask has no hole; make white what is to be filled in")
    if hole.all():
        raise PrefPaintError("the mask covers everything; leave some of the picture to continue from")
    return hole


def plan_contexts(hole: np.ndarray, family: Any, context: float = CONTEXT, coarsest: float = math.inf) -> list[Context]:
    """Crops that together fill every hole, large holes first.

    A crop is never smaller than what the model paints at once, so small holes are painted at the picture's own
    resolution. A hole that lies well inside the crop of a larger one is painted with it.

    Args:
        hole: (H, W) uint8, 1 where to repaint.
        family: of the model: its size, and what sides must be multiples of.
        context: how many times as long and wide as its hole a crop is.
        coarsest: how many times coarser than the picture a crop may be painted, at least 1. A hole that would need
            more is painted in pieces, from what is known inwards: finer, with less of the whole in view, and slower.

    Raises:
        PrefPaintError: `context` is below 1.
    """
    if not 1 <= context < math.inf:
        raise PrefPaintError(f"context: is {context}, and a crop must be as long and wide as its hole; give 1 or more")
    height, width = hole.shape
    side = family.native_size
    tile = max(1, side // TILES)
    labels, boxes = _separate(hole, tile)
    groups: list[tuple[Box, list[int]]] = []
    for number in sorted(boxes, key=lambda one: (-boxes[one].width * boxes[one].height, one)):
        for crop, members in groups:
            if _well_inside(boxes[number], crop, height, width):
                members.append(number)
                break
        else:
            groups.append((_around(boxes[number], height, width, side, context), [number]))
    contexts = [_context(hole, labels, tile, crop, members, family) for crop, members in groups]
    return [piece for one in contexts for piece in _pieces(one, hole, family, context, coarsest)]


def _pieces(whole: Context, missing: np.ndarray, family: Any, context: float, coarsest: float) -> list[Context]:
    """A crop as it is or, where it would be painted too coarsely, crops of pieces of its hole.

    Args:
        whole: the crop.
        missing: (H, W) uint8, 1 in every hole of the picture.
        family, context, coarsest: as in `plan_contexts`.
    """
    side = family.native_size
    box = whole.box
    if math.sqrt(box.width * box.height) <= coarsest * side:
        return [whole]
    import cv2

    depth = cv2.distanceTransform(missing[box.top : box.bottom, box.left : box.right], cv2.DIST_L2, 3)
    step = max(1, int(coarsest * side / context))
    pieces = []
    for top in range(0, box.height, step):
        for left in range(0, box.width, step):
            part = whole.hole[top : top + step, left : left + step]
            if not part.any():
                continue
            (ys,), (xs,) = np.nonzero(part.any(1)), np.nonzero(part.any(0))
            down, across = slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1)
            place = Box(
                *(box.left + left + across.start, box.top + top + down.start),
                *(box.left + left + across.stop, box.top + top + down.stop),
            )
            crop = _around(place, missing.shape[0], missing.shape[1], side, context)
            own = np.zeros((crop.height, crop.width), np.uint8)
            own[place.top - crop.top : place.bottom - crop.top, place.left - crop.left : place.right - crop.left] = (
                part[down, across]
            )
            inwards = float(depth[top : top + step, left : left + step][part > 0].mean())
            pieces.append((inwards, Context(crop, own, *painted_shape(crop.height, crop.width, family))))
    return [one for _, one in sorted(pieces, key=lambda piece: piece[0])]


def _separate(hole: np.ndarray, tile: int) -> tuple[np.ndarray, dict[int, Box]]:
    """Holes that are at least a tile apart, told apart on a grid of tiles: speckles must not make a thousand.

    Returns:
        The number of the hole in each tile, 0 for none; and the holes' boxes, pixels.
    """
    from scipy.ndimage import find_objects, label

    rows, columns = (math.ceil(length / tile) for length in hole.shape)
    padded = np.pad(hole > 0, ((0, rows * tile - hole.shape[0]), (0, columns * tile - hole.shape[1])))
    labels, _ = label(padded.reshape(rows, tile, columns, tile).any((1, 3)), np.ones((3, 3)))
    boxes = {}
    for number, (down, across) in enumerate(find_objects(labels), 1):
        top, left = down.start * tile, across.start * tile
        part = padded[top : down.stop * tile, left : across.stop * tile] & _large(labels[down, across] == number, tile)
        (ys,), (xs,) = np.nonzero(part.any(1)), np.nonzero(part.any(0))
        boxes[number] = Box(left + int(xs[0]), top + int(ys[0]), left + int(xs[-1]) + 1, top + int(ys[-1]) + 1)
    return labels, boxes


def _large(tiles: np.ndarray, tile: int) -> np.ndarray:
    return tiles.repeat(tile, 0).repeat(tile, 1)


def _well_inside(hole: Box, crop: Box, height: int, width: int) -> bool:
    """Whether a crop shows what surrounds a hole; beyond the picture there is nothing to show."""
    across, down = round(MARGIN * crop.width), round(MARGIN * crop.height)
    return (
        crop.left <= max(0, hole.left - across)
        and crop.top <= max(0, hole.top - down)
        and min(width, hole.right + across) <= crop.right
        and min(height, hole.bottom + down) <= crop.bottom
    )


def _context(
    hole: np.ndarray, labels: np.ndarray, tile: int, crop: Box, members: Sequence[int], family: Any
) -> Context:
    """A crop that fills some of the holes, painted in the crop's shape at the area of the model's size."""
    top, left = crop.top // tile, crop.left // tile
    tiles = labels[top : math.ceil(crop.bottom / tile), left : math.ceil(crop.right / tile)]
    down, across = crop.top - top * tile, crop.left - left * tile
    own = _large(np.isin(tiles, members), tile)[down : down + crop.height, across : across + crop.width]
    filled = hole[crop.top : crop.bottom, crop.left : crop.right] * own
    return Context(crop, filled.astype(np.uint8), *painted_shape(crop.height, crop.width, family))


def _around(hole: Box, height: int, width: int, side: int, context: float) -> Box:
    """The crop around a hole, a square where the picture has room for it; moved into the picture."""
    wanted = max(side, math.ceil(context * max(hole.width, hole.height)))
    across, down = min(wanted, width), min(wanted, height)
    # What the picture's edge takes from a long hole's crop, the other side need not have.
    if hole.width >= hole.height and across < wanted:
        down = min(down, max(side, math.ceil(context * hole.height), math.ceil(across / LONGEST_ASPECT)))
    if hole.height > hole.width and down < wanted:
        across = min(across, max(side, math.ceil(context * hole.width), math.ceil(down / LONGEST_ASPECT)))
    left = int(np.clip((hole.left + hole.right - across) // 2, 0, width - across))
    top = int(np.clip((hole.top + hole.bottom - down) // 2, 0, height - down))
    return Box(left, top, left + across, top + down)


def paint_patches(
    inpainter: Any,
    image: np.ndarray,
    hole: np.ndarray,
    seed: int,
    text: str = "",
    context: float = CONTEXT,
    samples: int = 1,
    choose: Choose | None = None,
    coarsest: float = math.inf,
) -> Iterator[Patch]:
    """Fill the holes of a picture, crop by crop.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`; the fills of a crop are one batch, unless its own is smaller.
        image: (H, W, 3) uint8; what lies in holes is not seen.
        hole: (H, W) uint8, 1 where to repaint.
        seed: of the noise. The first fill of a crop is the same for any number of samples.
        text: what should be there.
        context: see `plan_contexts`.
        samples: fills of each crop. One is kept before the next crop is painted, which may show it; time is
            proportional.
        choose: which; it is asked at the size at which the crop is painted. None keeps the only one.
        coarsest: see `plan_contexts`.

    Raises:
        PrefPaintError: too little of the picture is left around a hole; `context` or `samples` is below 1; nothing
            chooses among several samples; or out of memory.
    """
    if samples < 1:
        raise PrefPaintError(f"samples: is {samples}, and a hole needs a fill; give 1 or more")
    if samples > 1 and choose is None:
        raise PrefPaintError(
            f"samples: is {samples}, and nothing chooses among that many fills; give a prefpaint.Chooser, or leave "
            "samples out"
        )
    canvas, missing = image.copy(), hole.copy()
    for number, one in enumerate(plan_contexts(hole, inpainter.family, context, coarsest)):
        seeds = sample_seeds(samples, "context", seed, number)
        patch = _paint(inpainter, one, one.of(canvas), one.of(missing), seeds, text, choose)
        yield patch
        paste(canvas, patch)
        one.of(missing)[one.hole > 0] = 0


def _paint(
    inpainter: Any,
    context: Context,
    image: np.ndarray,
    missing: np.ndarray,
    seeds: Sequence[int],
    text: str,
    choose: Choose | None,
) -> Patch:
    """One crop.

    Args:
        inpainter: what paints.
        context: where.
        image: (H, W, 3) uint8, of the crop.
        missing: (H, W) uint8, 1 in all holes that are not filled yet.
        seeds: one for each fill.
        text, choose: as in `paint_patches`.
    """
    import cv2

    distance = cv2.distanceTransform(1 - context.hole, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # The model paints the band as well, and there its pixels are blended with those that were there.
    changed = (distance <= context.feather) & ((context.hole > 0) | (missing == 0))
    if not ((changed == 0) & (missing == 0)).any():
        changed = context.hole > 0
    opened = changed | (missing > 0)
    shape = context.height, context.width
    shown, unseen = resized_image(image, missing, shape), resized_hole(opened, shape)
    if unseen.all():
        raise PrefPaintError(
            "the hole leaves too little of the picture to continue from; make the hole smaller, or give more of the "
            "picture around it"
        )
    count = len(seeds)
    fills = inpainter.sample(
        shown[None].repeat(count, 0),
        unseen[None].repeat(count, 0),
        seeds,
        [text] * count,
        # Filling up a larger batch would only waste time.
        batch=min(count, inpainter.config.batch),
    )
    painted = fills[0 if choose is None else choose(fills, unseen, text)]
    box = context.box
    back = np.asarray(Image.fromarray(painted).resize((box.width, box.height), Image.Resampling.LANCZOS))
    share = 1 - distance[changed] / (context.feather + 1)
    pixels = np.zeros((*changed.shape, 4), np.uint8)
    blended = share[:, None] * back[changed] + (1 - share[:, None]) * image[changed]
    pixels[changed, :3] = np.rint(blended)
    pixels[changed, 3] = 255
    return Patch(context, painted, unseen, pixels)


def paste(image: np.ndarray, patch: Patch) -> None:
    """Put a patch into its picture, (H, W, 3) uint8, in place."""
    changed = patch.pixels[..., 3] > 0
    patch.context.of(image)[changed] = patch.pixels[changed, :3]
