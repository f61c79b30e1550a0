"""Outpainting masks: a kept square or strip, everything else missing (paper, section 4.1).

Masks are (H, W) uint8, 1 where pixels are missing, 0 where they are known.
"""

import math

import numpy as np


def square_mask(size: int, area: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Keep one square at a random place.

    Args:
        size: side of the image in pixels.
        area: least and largest share of the image's area that the kept square covers. The side is a
            whole number of pixels whose share lies within, unless none does (then the nearest).
        rng: source of the draws.

    Returns:
        (size, size) uint8 mask.
    """
    low = math.ceil(math.sqrt(area[0]) * size - 1e-9)
    high = max(low, math.floor(math.sqrt(area[1]) * size + 1e-9))
    side = int(np.clip(round(math.sqrt(rng.uniform(*area)) * size), low, high))
    top, left = (int(v) for v in rng.integers(0, size - side + 1, 2))
    mask = np.ones((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 0
    return mask


def strip_mask(size: int, width: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Keep one full-height strip at a random place.

    Args:
        size: side of the image in pixels.
        width: least and largest share of the image's width that is kept.
        rng: source of the draws.

    Returns:
        (size, size) uint8 mask.
    """
    low = math.ceil(width[0] * size - 1e-9)
    high = max(low, math.floor(width[1] * size + 1e-9))
    kept = int(np.clip(round(rng.uniform(*width) * size), low, high))
    left = int(rng.integers(0, size - kept + 1))
    mask = np.ones((size, size), np.uint8)
    mask[:, left : left + kept] = 0
    return mask
