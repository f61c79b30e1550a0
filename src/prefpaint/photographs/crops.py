"""Regions of photographs that belong to one split, and crops inside them."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from prefpaint.errors import PrefPaintError

SPLITS = ("train", "validation", "test")
# Fewer rated photographs than this are cut into regions.
LEAST_TO_DIVIDE = 10
# Photographs that are never cut: one for each split.
LEAST_WHOLE = 4
# What sides of crops are multiples of that are not resized: every family takes such pictures.
UNIT = 16


@dataclass(frozen=True)
class Box:
    """A rectangle in photograph pixels: left and top inclusive, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def split_regions(width: int, height: int, shares: dict[str, float]) -> dict[str, Box]:
    """Cut one photograph into a train, a validation and a test region.

    Train takes the first part of the longer side; the rest is cut across, validation first. So every
    region stays wide enough for large crops, which three parallel bands would not.

    Args:
        width, height: of the photograph, in pixels.
        shares: of the area, per split; they add up to 1.

    Returns:
        One box per split; together they tile the photograph and no two overlap.
    """
    long, short = max(width, height), min(width, height)
    along = round(long * shares["train"])
    across = round(short * shares["validation"] / (shares["validation"] + shares["test"]))
    spans = {
        "train": (0, 0, along, short),
        "validation": (along, 0, long, across),
        "test": (along, across, long, short),
    }
    if width >= height:
        return {split: Box(*span) for split, span in spans.items()}
    return {split: Box(top, left, bottom, right) for split, (left, top, right, bottom) in spans.items()}


def sample_crop(
    region: Box, shape: tuple[int, int] | None, side_range: tuple[int, int], rng: np.random.Generator
) -> Box:
    """A random crop of some shape inside a region, its longer side log-uniform in a range cut to what fits.

    Args:
        region: where the crop must lie.
        shape: height and width that the crop will have, of which the ratio counts here; None for the region itself
            but for a rim that leaves multiples of `UNIT`.
        side_range: smallest and largest longer side in pixels; (0, 0) gives the largest centred crop.
        rng: source of the draw.
    """
    if shape is None:
        return _trimmed(region)
    fits = _longest(region, shape)
    low, high = side_range
    if high == 0:
        height, width = _sides(fits, shape)
        left, top = region.left + (region.width - width) // 2, region.top + (region.height - height) // 2
        return Box(left, top, left + width, top + height)
    low, high = min(low, fits), min(high, fits)
    height, width = _sides(round(float(np.exp(rng.uniform(np.log(low), np.log(high))))), shape)
    left = region.left + int(rng.integers(0, region.width - width + 1))
    top = region.top + int(rng.integers(0, region.height - height + 1))
    return Box(left, top, left + width, top + height)


def sample_crop_around(
    region: Box,
    hole: Box,
    pixel: tuple[int, int],
    shape: tuple[int, int] | None,
    side_range: tuple[int, int],
    rng: np.random.Generator,
) -> Box:
    """A random crop inside a region with a hole in it.

    Its longer side is log-uniform in a range, widened where needed so that half as much again as the hole fits. A hole
    that no crop of the region holds is cut; one pixel of it is in the crop then.

    Args:
        region: where the crop must lie.
        hole: the hole's box, in the region.
        pixel: column and row of a pixel of the hole.
        shape: see `sample_crop`.
        side_range: smallest and largest longer side in pixels; (0, 0) gives the largest crop, as central as the hole
            allows.
        rng: source of the draw.
    """
    if shape is None:
        return _trimmed(region)
    fits = _longest(region, shape)
    low, high = side_range
    if high == 0:
        side = fits
    else:
        # The longer side of a crop that the hole fills in one direction.
        filled = max(shape) * max(hole.width / shape[1], hole.height / shape[0])
        least = min(fits, math.ceil(1.5 * filled))
        low, high = min(max(low, least), fits), min(max(high, least), fits)
        side = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    height, width = _sides(side, shape)
    left = _start((region.left, region.right), (hole.left, hole.right), pixel[0], width, high == 0, rng)
    top = _start((region.top, region.bottom), (hole.top, hole.bottom), pixel[1], height, high == 0, rng)
    return Box(left, top, left + width, top + height)


def _longest(region: Box, shape: tuple[int, int]) -> int:
    """The longer side of the largest crop of some shape in a region."""
    long = max(shape)
    return max(1, min(region.width * long // shape[1], region.height * long // shape[0]))


def _sides(long: int, shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a crop of some shape by its longer side; no larger than a region that it fits."""
    height, width = (max(1, math.floor(long * side / max(shape) + 1e-9)) for side in shape)
    return height, width


def _trimmed(region: Box) -> Box:
    """The largest box whose sides are multiples of `UNIT`, in a region's middle; the region where it is smaller."""
    width, height = (max(min(side, UNIT), side - side % UNIT) for side in (region.width, region.height))
    left, top = region.left + (region.width - width) // 2, region.top + (region.height - height) // 2
    return Box(left, top, left + width, top + height)


def _start(
    region: tuple[int, int], span: tuple[int, int], place: int, side: int, central: bool, rng: np.random.Generator
) -> int:
    """Where a span of some length starts that lies in a region and holds another span, or else a place in it."""
    start, end = span if span[1] - span[0] <= side else (place, place + 1)
    first, last = max(region[0], end - side), min(region[1] - side, start)
    if central:
        return int(np.clip(region[0] + (region[1] - region[0] - side) // 2, first, last))
    return int(rng.integers(first, last + 1))


def cut(image: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of a box resized to a height and a width, (h, w, 3) uint8; reads no pixel outside the box.

    Antialiased (Lanczos) when reducing, bicubic when enlarging.
    """
    crop = Image.fromarray(image[box.top : box.bottom, box.left : box.right])
    how = Image.Resampling.LANCZOS if box.width >= shape[1] else Image.Resampling.BICUBIC
    return np.asarray(crop.resize(shape[::-1], how))


def cut_map(values: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """The same for one float map, (h, w) float32, by nearest pixel: depth must not be blended."""
    ys = (box.top + (np.arange(shape[0]) + 0.5) * box.height / shape[0]).astype(int)
    xs = (box.left + (np.arange(shape[1]) + 0.5) * box.width / shape[1]).astype(int)
    return values[np.ix_(ys, xs)].astype(np.float32)


def cut_hole(hole: np.ndarray, box: Box, shape: tuple[int, int]) -> np.ndarray:
    """The same for one mask, (h, w) uint8, 1 in the hole: half of what a pixel shows, or all there is of less."""
    part = hole[box.top : box.bottom, box.left : box.right]
    shares = np.asarray(Image.fromarray(part * np.uint8(255)).resize(shape[::-1], Image.Resampling.BOX))
    cut_out = (shares >= 128).astype(np.uint8)
    if not cut_out.any():
        rows, columns = np.nonzero(part)
        cut_out[rows * shape[0] // box.height, columns * shape[1] // box.width] = 1
    return cut_out


def assign_splits(
    count: int, shares: dict[str, float], unseen: float, seed: int, whole: bool = False
) -> list[str | None]:
    """The split of each of `count` photographs, by a seeded shuffle.

    Args:
        count: photographs.
        shares: of the rated photographs, per split; they add up to 1.
        unseen: share of all photographs that is set aside first, at least one.
        seed: of the shuffle.
        whole: never cut a photograph, as holes and words of one belong to all of it, or its shape is to be kept.

    Returns:
        "unseen", "train", "validation" or "test"; None for photographs that are cut into regions because the rated
        ones are fewer than `LEAST_TO_DIVIDE`.

    Raises:
        PrefPaintError: a single photograph; fewer than four that must not be cut.
    """
    if count < 2:
        raise PrefPaintError(
            f"photographs.folder: {count} readable image(s) cannot be divided: one is set aside for unseen prompts, "
            "and one is needed to rate; give at least two"
        )
    if whole and count < LEAST_WHOLE:
        raise PrefPaintError(
            f"photographs.folder: {count} readable images are too few where there are masks or words, or "
            "photographs.size is native: train, validation, test and unseen prompts need one each; give at least "
            f"{LEAST_WHOLE}"
        )
    n_unseen = min(count - (3 if whole else 1), max(1, round(count * unseen)))
    n_rated = count - n_unseen
    in_turn: list[str | None] = ["unseen"] * n_unseen
    if n_rated < LEAST_TO_DIVIDE and not whole:
        in_turn += [None] * n_rated
    else:
        n_validation, n_test = (max(1, round(n_rated * shares[split])) for split in ("validation", "test"))
        in_turn += ["validation"] * n_validation + ["test"] * n_test
        in_turn += ["train"] * (count - len(in_turn))
    position = np.argsort(np.random.default_rng(seed).permutation(count))
    return [in_turn[int(place)] for place in position]


def regions_of(width: int, height: int, split: str | None, shares: dict[str, float]) -> dict[str, Box]:
    """The boxes of one photograph that each split may use.

    Args:
        width, height: of the photograph, in pixels.
        split: of `assign_splits`; None cuts the photograph into three regions.
        shares: of the regions' areas.
    """
    return split_regions(width, height, shares) if split is None else {split: Box(0, 0, width, height)}
