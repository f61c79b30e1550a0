"""Regions of photographs that belong to one split, and square crops inside them."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from prefpaint.errors import PrefPaintError

SPLITS = ("train", "validation", "test")
# Fewer rated photographs than this are cut into regions.
LEAST_TO_DIVIDE = 10


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


def sample_crop(region: Box, side_range: tuple[int, int], rng: np.random.Generator) -> Box:
    """A random square inside a region, its side log-uniform in a range cut to what fits.

    Args:
        region: where the square must lie.
        side_range: smallest and largest side in pixels; (0, 0) gives the largest centred square.
        rng: source of the draw.
    """
    fits = min(region.width, region.height)
    low, high = side_range
    if high == 0:
        left, top = region.left + (region.width - fits) // 2, region.top + (region.height - fits) // 2
        return Box(left, top, left + fits, top + fits)
    low, high = min(low, fits), min(high, fits)
    side = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
    left = region.left + int(rng.integers(0, region.width - side + 1))
    top = region.top + int(rng.integers(0, region.height - side + 1))
    return Box(left, top, left + side, top + side)


def cut(image: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The pixels of a box resized to (size, size, 3) uint8; reads no pixel outside the box.

    Antialiased (Lanczos) when reducing, bicubic when enlarging.
    """
    crop = Image.fromarray(image[box.top : box.bottom, box.left : box.right])
    how = Image.Resampling.LANCZOS if box.width >= size else Image.Resampling.BICUBIC
    return np.asarray(crop.resize((size, size), how))


def cut_map(values: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The same for one float map, (size, size) float32, by nearest pixel: depth must not be blended."""
    ys = (box.top + (np.arange(size) + 0.5) * box.height / size).astype(int)
    xs = (box.left + (np.arange(size) + 0.5) * box.width / size).astype(int)
    return values[np.ix_(ys, xs)].astype(np.float32)


def assign_splits(count: int, shares: dict[str, float], unseen: float, seed: int) -> list[str | None]:
    """The split of each of `count` photographs, by a seeded shuffle.

    Args:
        count: photographs.
        shares: of the rated photographs, per split; they add up to 1.
        unseen: share of all photographs that is set aside first, at least one.
        seed: of the shuffle.

    Returns:
        "unseen", "train", "validation" or "test"; None for photographs that are cut into regions because the rated
        ones are fewer than `LEAST_TO_DIVIDE`.

    Raises:
        PrefPaintError: a single photograph.
    """
    if count < 2:
        raise PrefPaintError(
            f"photographs.folder: {count} readable image(s) cannot be divided: one is set aside for unseen prompts, "
            "and one is needed to rate; give at least two"
        )
    n_unseen = min(count - 1, max(1, round(count * unseen)))
    n_rated = count - n_unseen
    in_turn: list[str | None] = ["unseen"] * n_unseen
    if n_rated < LEAST_TO_DIVIDE:
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
