"""Field-of-view enlargement: a picture grows to all sides.

From coarse to fine. First the picture doubles again and again, each time seen whole at the model's own size, so that
colours and shapes at the far ends follow from the original. Then all that is new is painted over at a larger scale, by
windows that are denoised together, starting from what is there (SDEdit, Meng et al. 2022). Large-scale colours and
detail are carried on from the original: small models paint neither well.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.applications.detail import carry_detail
from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.applications.matching import continue_colours, keep_colours, match_colours, match_texture
from prefpaint.config import derive_seed, sample_seeds
from prefpaint.errors import PrefPaintError, within_memory
from prefpaint.inpainting.context import Choose
from prefpaint.inpainting.panorama import Window, paint_canvas, plan_windows
from prefpaint.inpainting.sampling import paste_known
from prefpaint.inpainting.sizes import painted_shape, resized_hole, resized_image

SMALLEST = 8
# Share of the chain that is left out where a finer scale starts from a coarser one.
KEPT = 0.6
# Colours are kept at scales above this part of the original's short side.
KEPT_COLOURS = 1 / 8
# Bytes for each pixel of the wanted picture while it is put together: 180 measured for matching, and the pictures.
BYTES = 200


@dataclass(frozen=True)
class Layout:
    """How a picture grows.

    Attributes:
        height, width: of the wanted picture.
        original: where the original lies in it.
        canvases: heights and widths at which it is painted, from coarse to fine.
        stages: what is known before and after each doubling, on the first canvas.
        columns, rows: places x, y of the wanted picture where something else begins: the joint lies before them.
    """

    height: int
    width: int
    original: Window
    canvases: list[tuple[int, int]]
    stages: list[Window]
    columns: list[int]
    rows: list[int]


def wanted_size(height: int, width: int, config: ExtendConfig) -> tuple[int, int]:
    """Height and width to reach.

    Raises:
        PrefPaintError: a picture is too small, or is already that large in one direction or in both.
    """
    if min(height, width) < SMALLEST:
        raise PrefPaintError(
            f"a picture of {width} x {height} px cannot be extended; give at least {SMALLEST} px a side"
        )
    rows = config.height or height
    columns = config.width or (round(config.aspect * rows) if config.aspect else width)
    key = "width" if config.width else "aspect"
    if rows < height:
        raise PrefPaintError(f"extend.height: gives {rows} rows, but the picture already has {height}; raise it")
    if columns < width or (rows, columns) == (height, width):
        raise PrefPaintError(f"extend.{key}: gives {columns} columns, but the picture already has {width}; raise it")
    needed, there = BYTES * rows * columns / 1e9, _memory() / 1e9
    if needed > there:
        raise PrefPaintError(
            f"extend.{key}: a picture of {columns} x {rows} px takes {needed:.1f} GB of memory, and this machine has "
            f"{there:.1f} GB; lower it, or extend.longest_side"
        )
    return rows, columns


def _memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def plan_layout(height: int, width: int, family: Any, config: ExtendConfig) -> Layout:
    """Plan the growth of pictures of one size; the original stays in the middle.

    Args:
        height, width: of the original.
        family: of the model; on the first canvas the original's shorter side is as long as its windows.
        config: how large, and how.

    Raises:
        PrefPaintError: see `wanted_size`.
    """
    rows, columns = wanted_size(height, width, config)
    original = Window((rows - height) // 2, (columns - width) // 2, height, width)
    unit, side = family.factor * family.patch, family.native_size
    scales = [side / min(height, width)]
    for _ in range(config.refinements):
        if scales[-1] < 1:
            scales.append(min(1.0, 2 * scales[-1]))
    canvases = [
        (max(unit, round(rows * scale / unit) * unit), max(unit, round(columns * scale / unit) * unit))
        for scale in scales
    ]
    high, wide = canvases[0]
    stages = list(_stages(_known(resized_hole(_hole(rows, columns, original), canvases[0])), high, wide))
    fine = plan_windows(*canvases[-1], side, config.overlap, unit)
    ends = {
        "columns": [one.left * columns / canvases[-1][1] for one in fine]
        + [(one.left + one.width) * columns / canvases[-1][1] for one in fine]
        + [place * columns / wide for one in stages for place in (one.left, one.left + one.width)],
        "rows": [one.top * rows / canvases[-1][0] for one in fine]
        + [(one.top + one.height) * rows / canvases[-1][0] for one in fine]
        + [place * rows / high for one in stages for place in (one.top, one.top + one.height)],
    }
    return Layout(
        rows,
        columns,
        original,
        canvases,
        stages,
        _joints(ends["columns"], columns, original.left, original.left + width),
        _joints(ends["rows"], rows, original.top, original.top + height),
    )


def _joints(ends: list[float], length: int, begin: int, end: int) -> list[int]:
    """Joints along one direction: ends of what was painted, and those of the original in [begin, end) instead of any
    that lie inside it or, for rounding, next to it."""
    places = {round(place) for place in ends}
    return sorted(x for x in {x for x in places if x < begin - 1 or x > end + 1} | {begin, end} if 0 < x < length)


def _stages(known: Window, height: int, width: int) -> Iterator[Window]:
    """Rectangles from what is known to the whole canvas, each at most twice as long and wide as the one before."""
    top, left, bottom, right = known.top, known.left, known.top + known.height, known.left + known.width
    yield known
    while (top, left, bottom, right) != (0, 0, height, width):
        more, wider = max(1, (bottom - top) // 2), max(1, (right - left) // 2)
        top, left = max(0, top - more), max(0, left - wider)
        bottom, right = min(height, bottom + more), min(width, right + wider)
        yield Window(top, left, bottom - top, right - left)


def _hole(height: int, width: int, known: Window) -> np.ndarray:
    """(height, width) uint8, 0 in a rectangle and 1 around it."""
    hole = np.ones((height, width), np.uint8)
    known.of(hole)[:] = 0
    return hole


def _known(hole: np.ndarray) -> Window:
    """The rectangle of a canvas that is no hole."""
    rows, columns = (np.flatnonzero((hole == 0).any(axis)) for axis in (1, 0))
    return Window(int(rows[0]), int(columns[0]), len(rows), len(columns))


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if image.shape[:2] == shape:
        return image
    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BICUBIC))


def extend(
    inpainter: Any, image: np.ndarray, seed: int, config: ExtendConfig, choose: Choose | None = None
) -> tuple[np.ndarray, Layout]:
    """Make a picture larger, the original's own pixels unchanged.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`.
        image: (H, W, 3) uint8, any size of at least 8 px.
        seed: of the noise.
        config: how large, and how.
        choose: which of several samples to keep, such as a `prefpaint.Chooser`.

    Returns:
        (height, width, 3) uint8, and where the original and the joints lie in it.

    Raises:
        PrefPaintError: see `wanted_size`; nothing chooses among several samples; or the model is out of memory.
    """
    if config.samples > 1 and choose is None:
        raise PrefPaintError(
            f"extend.samples: is {config.samples}, and nothing chooses among that many; give a prefpaint.Chooser"
        )
    height, width = image.shape[:2]
    layout = plan_layout(height, width, inpainter.family, config)
    hole = _hole(layout.height, layout.width, layout.original)
    framed = np.zeros((*hole.shape, 3), np.uint8)
    layout.original.of(framed)[:] = image
    continued = continue_colours(image, layout.original, hole.shape)
    with within_memory(f"lower sampling.batch (now {inpainter.config.batch}) or extend.refinements"):
        canvas = resized_image(framed, hole, layout.canvases[0])
        painted = _paint_coarsely(inpainter, canvas, layout, seed, config.samples, choose)
        start = round(KEPT * inpainter.config.steps)
        for number, shape in enumerate(layout.canvases):
            known, missing = resized_image(framed, hole, shape), resized_hole(hole, shape)
            begun = np.where(missing[..., None] > 0, _resized(painted, shape), known)
            spread = KEPT_COLOURS * math.sqrt(missing.size / hole.size) * min(height, width)
            if number == 0:
                begun = keep_colours(begun, _resized(continued, shape), missing, spread)
            noise = derive_seed("refined", seed, number)
            painted = paint_canvas(inpainter, begun, missing, noise, config.overlap, start)
            painted = match_colours(painted, known, missing)
            # Windows that see nothing of the original would grey whatever they repaint.
            painted = keep_colours(painted, begun, missing, spread)
    whole = match_colours(_resized(painted, hole.shape), framed, hole)
    whole = carry_detail(whole, layout.original, derive_seed("detail", seed))
    return match_texture(whole, hole), layout


def _paint_coarsely(
    inpainter: Any, canvas: np.ndarray, layout: Layout, seed: int, samples: int, choose: Choose | None
) -> np.ndarray:
    """Fill the first canvas stage by stage, each in one window of the model's area, the best of its samples."""
    canvas = canvas.copy()
    for number, (before, after) in enumerate(pairwise(layout.stages)):
        inner = Window(before.top - after.top, before.left - after.left, before.height, before.width)
        seen, hole = after.of(canvas), _hole(after.height, after.width, inner)
        shape = painted_shape(after.height, after.width, inpainter.family)
        known, missing = resized_image(seen, hole, shape), resized_hole(hole, shape)
        draws = sample_seeds(samples, "stage", seed, number)
        fills = np.stack([paint_canvas(inpainter, known, missing, noise, 0.5) for noise in draws])
        best = choose(paste_known(fills, known[None], missing[None]), missing, "") if choose and samples > 1 else 0
        seen[:] = match_colours(_resized(fills[best], hole.shape), seen, hole)
    return canvas
