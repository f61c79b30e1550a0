"""Detail of the original carried on into what was painted beside it.

A model's fills are softer than photographs, and most of all far from what is known. What they lack is taken from the
original by example: tiles of its detail, chosen where its colours look like the fill's, are blended so that their
variance stays (Heitz and Neyret, High-Performance By-Example Noise using a Histogram-Preserving Blending Operator,
2018). Shapes and colours remain the model's.
"""

import numpy as np
from scipy import ndimage

from prefpaint.applications.matching import beside, blurred_part, carry_on, pasted
from prefpaint.inpainting.panorama import Window

# As parts of the original's short side: standard deviation of the blur that tells detail from what it lies on, side of
# a tile, band of the original whose strength of detail is carried on, and how far strength is averaged.
BLUR, TILE, BAND, AVERAGED = 1 / 24, 1 / 6, 1 / 8, 1 / 16
# Tiles of the original that are looked at for each place, and points along a side at which colours are compared.
TRIES, POINTS = 96, 4
# What makes a tile unfit: so many grey levels of difference cost 1, as do a distance of so many short sides from the
# nearest place of the original, and so large a difference of the log strength of detail from what is carried on.
COLOUR, DISTANCE, STRENGTH = 25.0, 1.0, 1.0
# Squared grey levels of detail that nobody sees.
FLOOR = 1.0


def carry_detail(image: np.ndarray, original: Window, seed: int) -> np.ndarray:
    """Add to what was painted around an original the detail that it lacks.

    Args:
        image: (H, W, 3) uint8, painted around the original.
        original: where it lies; sides of at least 8 px.
        seed: of the choice of tiles.

    Returns:
        (H, W, 3) uint8, unchanged inside the original.
    """
    hole = np.ones(image.shape[:2], np.float32)
    original.of(hole)[:] = 0
    short = min(original.height, original.width)
    blur, averaged = max(1.0, BLUR * short), max(1.0, AVERAGED * short)
    known = original.of(image).astype(np.float32)
    base = ndimage.gaussian_filter(known, (blur, blur, 0), mode="nearest")
    painted = blurred_part(image.astype(np.float32), hole, blur)
    own = (image - painted) * hole[..., None]
    carried = _blended(known - base, base, painted, hole, original, seed) * hole[..., None]

    def strength(detail: np.ndarray) -> np.ndarray:
        return blurred_part(np.square(detail).mean(2, keepdims=True), hole, averaged) + FLOOR

    # Independent details add their variances: the sum is as strong as what is carried, or the fill's own if stronger.
    lacking = np.sqrt(np.clip(1 - strength(own) / strength(carried), 0, 1))
    return pasted(painted + own + lacking * carried, image, hole)


def _blended(
    detail: np.ndarray, base: np.ndarray, painted: np.ndarray, hole: np.ndarray, original: Window, seed: int
) -> np.ndarray:
    """Tiles of the original's detail all over what was painted.

    Args:
        detail, base: (h, w, 3) of the original.
        painted: (H, W, 3), blurred as `base` is.
        hole: (H, W), 1 where it was painted.
        original: where the original lies.
        seed: of the choice of tiles.

    Returns:
        (H, W, 3).
    """
    rng = np.random.default_rng(seed)
    short = min(original.height, original.width)
    side = 2 * max(2, int(TILE * short) // 2)
    inside = ndimage.uniform_filter(np.square(detail).mean(2), side, mode="nearest") + FLOOR
    near = np.zeros((*hole.shape, 1), np.float32)
    averaged = max(1.0, AVERAGED * short)
    original.of(near)[..., 0] = ndimage.gaussian_filter(np.square(detail).mean(2), averaged, mode="nearest") + FLOOR
    wanted = np.log(np.maximum(carry_on(near, beside(hole, max(1, int(BAND * short))))[..., 0], FLOOR))

    window = np.hanning(side + 2)[1:-1].astype(np.float32)
    window = (window[:, None] * window)[..., None]
    height, width = hole.shape
    total = np.zeros((height + 2 * side, width + 2 * side, 3), np.float32)
    squares = np.zeros((*total.shape[:2], 1), np.float32)
    points = np.arange(POINTS) * side // POINTS
    # Tiles lie half a tile apart and may hang over the picture's ends.
    for top in range(-side // 2, height, side // 2):
        for left in range(-side // 2, width, side // 2):
            if not hole[max(0, top) : top + side, max(0, left) : left + side].any():
                continue
            ys = rng.integers(0, original.height - side + 1, TRIES)
            xs = rng.integers(0, original.width - side + 1, TRIES)
            rows, columns = np.clip(top + points, 0, height - 1), np.clip(left + points, 0, width - 1)
            there = base[ys[:, None, None] + points[:, None], xs[:, None, None] + points]
            colour = np.abs(there - painted[rows[:, None], columns]).mean((1, 2, 3))
            nearest = (
                np.clip(top - original.top, 0, original.height - side),
                np.clip(left - original.left, 0, original.width - side),
            )
            distance = np.hypot(ys - nearest[0], xs - nearest[1]) / short
            middle = min(max(top + side // 2, 0), height - 1), min(max(left + side // 2, 0), width - 1)
            strength = np.abs(np.log(inside[ys + side // 2, xs + side // 2]) - wanted[middle])
            best = int(np.argmin(colour / COLOUR + distance / DISTANCE + strength / STRENGTH))
            part = slice(top + side, top + 2 * side), slice(left + side, left + 2 * side)
            total[part] += window * detail[ys[best] : ys[best] + side, xs[best] : xs[best] + side]
            squares[part] += window**2
    inner = slice(side, side + height), slice(side, side + width)
    return total[inner] / np.sqrt(np.maximum(squares[inner], 1e-9))
