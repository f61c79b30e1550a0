"""Outpainting masks: a kept square or strip, everything else missing (paper, section 4.1).

Masks are (H, W) uint8, 1 where pixels are missing, 0 where they are known.
"""

import math

import numpy as np


def square_mask(shape: tuple[int, int], area: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Keep one square at a random place.

    Args:
        shape: height and width of the image in pixels.
        area: least and largest share of the image's area that the kept square covers. The side is a
            whole number of pixels whose share lies within, unless none does (then the nearest), and at most the
            image's shorter one.
        rng: source of the draws.

    Returns:
        (height, width) uint8 mask.
    """
    height, width = shape
    size = math.sqrt(height * width)
    low = math.ceil(math.sqrt(area[0]) * size - 1e-9)
    high = max(low, math.floor(math.sqrt(area[1]) * size + 1e-9))
    side = min(int(np.clip(round(math.sqrt(rng.uniform(*area)) * size), low, high)), height, width)
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    mask = np.ones(shape, np.uint8)
    mask[top : top + side, left : left + side] = 0
    return mask


def strip_mask(shape: tuple[int, int], width: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Keep one full-height strip at a random place.

    Args:
        shape: height and width of the image in pixels.
        width: least and largest share of the image's width that is kept.
        rng: source of the draws.

    Returns:
        (height, width) uint8 mask.
    """
    size = shape[1]
    low = math.ceil(width[0] * size - 1e-9)
    high = max(low, math.floor(width[1] * size + 1e-9))
    kept = int(np.clip(round(rng.uniform(*width) * size), low, high))
    left = int(rng.integers(0, size - kept + 1))
    mask = np.ones(shape, np.uint8)
    mask[:, left : left + kept] = 0
    return mask
