"""Prompts (incomplete images): a crop of a photograph and a mask."""

from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from prefpaint.config import derive_seed
from prefpaint.masks.config import MaskConfig, Pattern
from prefpaint.masks.freeform import box_mask, brush_mask
from prefpaint.masks.objects import checkpoint_segments, object_mask, regions_by_colour
from prefpaint.masks.outpainting import square_mask, strip_mask
from prefpaint.masks.warp import orbit_pose, view_grid, warp_view
from prefpaint.photographs.crops import Box

# A view may open no hole (flat depth, the middle view); after this many draws the largest is taken.
WARP_TRIES = 8


@dataclass(frozen=True)
class Prompt:
    """One incomplete image.

    Attributes:
        image: (h, w, 3) uint8, the whole original; only a warp has 0 in its holes.
        mask: (h, w) uint8, 1 where pixels are missing.
        parameters: how the mask was drawn, JSON-ready.
    """

    image: np.ndarray
    mask: np.ndarray
    parameters: dict[str, Any]


def make_prompt(
    crop: np.ndarray,
    depth: np.ndarray,
    pattern: Pattern,
    config: MaskConfig,
    seed: int,
    own: np.ndarray | None = None,
) -> Prompt:
    """Open a hole in a crop.

    Args:
        crop: (h, w, 3) uint8.
        depth: (h, w) float, positive; only `warp` uses it.
        pattern: how.
        config: geometry.
        seed: of all draws.
        own: (h, w) uint8, the user's hole in this crop, for `own` alone.
    """
    rng = np.random.default_rng(seed)
    if pattern == "warp":
        return _warp_prompt(crop, depth, config, rng)
    if pattern == "own":
        assert own is not None
        return Prompt(crop, own, {})
    if pattern == "object":
        segment = checkpoint_segments(config.segmentation_checkpoint) if config.segmentation_checkpoint else None
        segments = segment(crop) if segment else regions_by_colour(crop)
        return Prompt(crop, object_mask(crop, segments, config.hole, rng), {})
    mask = _drawn_mask((crop.shape[0], crop.shape[1]), pattern, config, rng)
    return Prompt(crop, mask, asdict(_kept(mask)) if pattern.startswith("outpaint") else {})


def first_draw(shape: tuple[int, int], pattern: Pattern, config: MaskConfig, seed: int) -> tuple[float, ...]:
    """What a seed says about a hole before any picture is looked at.

    Equal draws of one pattern in one crop give equal prompts; different draws nearly always give different ones.

    Args:
        shape: height and width of the prompt in pixels.
        pattern, config, seed: as in `make_prompt`.

    Returns:
        left, top, right and bottom of what outpainting keeps; yaw and pitch of the view that a warp tries first; a
        number for the pixels of a box or of strokes; the seed, where objects are drawn in the picture itself; nothing
        for the user's own hole.
    """
    rng = np.random.default_rng(seed)
    if pattern == "warp":
        return next(_views(config, rng))
    if pattern in ("own", "object"):
        return (seed,) if pattern == "object" else ()
    mask = _drawn_mask(shape, pattern, config, rng)
    return astuple(_kept(mask)) if pattern.startswith("outpaint") else (derive_seed(mask.tobytes().hex()),)


def _drawn_mask(shape: tuple[int, int], pattern: Pattern, config: MaskConfig, rng: np.random.Generator) -> np.ndarray:
    """A mask that does not depend on the picture."""
    if pattern == "outpaint_square":
        return square_mask(shape, config.square_area, rng)
    if pattern == "outpaint_strip":
        return strip_mask(shape, config.strip_width, rng)
    return (box_mask if pattern == "box" else brush_mask)(shape, config.hole, rng)


def _kept(mask: np.ndarray) -> Box:
    """The rectangle that an outpainting mask keeps."""
    (columns,), (rows,) = np.nonzero(~mask.all(0)), np.nonzero(~mask.all(1))
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _views(config: MaskConfig, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Yaw and pitch of the views to try, in drawn order."""
    views = [view for view in view_grid(config.yaw, config.pitch) if view != (0.0, 0.0)]
    return (views[index] for index in rng.permutation(len(views))[:WARP_TRIES])


def _warp_prompt(crop: np.ndarray, depth: np.ndarray, config: MaskConfig, rng: np.random.Generator) -> Prompt:
    height, width = depth.shape
    focal = min(height, width) / 2 / np.tan(config.field_of_view / 2)
    middle = depth[height // 4 : height - height // 4, width // 4 : width - width // 4]
    pivot = float(np.median(middle))
    best: Prompt | None = None
    for yaw, pitch in _views(config, rng):
        image, mask = warp_view(crop, depth, orbit_pose(yaw, pitch, pivot), focal)
        if best is None or mask.mean() > best.mask.mean():
            best = Prompt(image, mask, {"yaw": round(yaw, 4), "pitch": round(pitch, 4)})
        if mask.mean() >= config.least_hole:
            break
    assert best is not None
    return best


def prompt_patterns(count: int, shares: dict[Pattern, float], seed: int) -> list[Pattern]:
    """A seeded order of patterns in which each has its share, by largest remainder.

    Args:
        count: prompts in the split.
        shares: per pattern, adding up to 1.
        seed: of the order.
    """
    exact = {pattern: share * count for pattern, share in shares.items()}
    numbers = {pattern: int(value) for pattern, value in exact.items()}
    by_remainder = sorted(exact, key=lambda p: exact[p] - numbers[p], reverse=True)
    for pattern in by_remainder[: count - sum(numbers.values())]:
        numbers[pattern] += 1
    patterns = [pattern for pattern, number in numbers.items() for _ in range(number)]
    order = np.random.default_rng(derive_seed("patterns", seed)).permutation(count)
    return [patterns[i] for i in order]
