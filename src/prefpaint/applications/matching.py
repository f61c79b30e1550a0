"""What is painted beside a picture takes on its colours and the strength of its texture."""

import numpy as np
from PIL import Image
from scipy import ndimage

# Known pixels next to the edge by which colours are matched.
EDGE = 2
# Standard deviation, in pixels, of the blur that tells detail from what it lies on.
DETAIL = 1.5
# Band of known pixels whose texture is carried on, and how far texture is averaged, as parts of the known short side.
BAND, AVERAGED = 8, 16
# Detail is made this much weaker or stronger at most: what was not painted cannot be brought out.
GAIN = (0.25, 2.5)
# Squared grey levels of detail that nobody sees.
ENERGY_FLOOR = 2.0


def carry_on(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Smooth continuation of what is known at some places, by pull and push (Gortler et al., The Lumigraph, 1996).

    Means over ever larger blocks fill what smaller ones leave open, so the continuation is detailed near known places
    and smooth far from them.

    Args:
        values: (H, W, C) float.
        weights: (H, W) float in [0, 1], 1 where values are known.

    Returns:
        (H, W, C) float64; the values themselves where weights are 1, and 0 if no weight is above 0.
    """
    height, width = weights.shape
    share = weights[..., None]
    if height * width == 1 or weights.min() == 1:
        return values * (share > 0)
    margin = ((0, height % 2), (0, width % 2))
    rows, columns = (height + 1) // 2, (width + 1) // 2
    blocks = np.pad(weights, margin).reshape(rows, 2, columns, 2).sum((1, 3))
    sums = np.pad(values * share, (*margin, (0, 0))).reshape(rows, 2, columns, 2, -1).sum((1, 3))
    coarse = carry_on(sums / np.maximum(blocks, 1e-9)[..., None], np.minimum(blocks, 1))
    channels = (Image.fromarray(one.astype(np.float32)) for one in np.moveaxis(coarse, 2, 0))
    between = [np.asarray(one.resize((2 * columns, 2 * rows), Image.Resampling.BILINEAR)) for one in channels]
    return np.asarray(share * values + (1 - share) * np.dstack(between)[:height, :width])


def _beside(hole: np.ndarray, pixels: int) -> np.ndarray:
    """1 at known pixels within some distance of the hole, float64."""
    return (ndimage.binary_dilation(hole > 0, iterations=pixels) & (hole == 0)).astype(np.float64)


def _pasted(fill: np.ndarray, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    return np.where(hole[..., None] > 0, np.clip(np.rint(fill), 0, 255), image).astype(np.uint8)


def match_colours(painted: np.ndarray, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Take from a fill the error that the model made beside it, where the truth is known.

    Args:
        painted: (H, W, 3) uint8, as the model painted it, what is known too.
        image: (H, W, 3) uint8, true outside the hole.
        hole: (H, W) uint8, 1 where missing.

    Returns:
        (H, W, 3) uint8, the image outside the hole.
    """
    edge = _beside(hole, EDGE)
    return _pasted(painted + carry_on(image.astype(np.float64) - painted, edge), image, hole)


def _detail(pixels: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blurred pixels of a part of a picture, and what the blur takes from them; nothing outside the part is seen."""
    share = ndimage.gaussian_filter(part, DETAIL, mode="nearest")[..., None]
    blurred = ndimage.gaussian_filter(pixels * part[..., None], (DETAIL, DETAIL, 0), mode="nearest")
    blurred /= np.maximum(share, 1e-6)
    return blurred, (pixels - blurred) * part[..., None]


def match_texture(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Make the detail of a fill as strong as that of the picture beside it.

    Args:
        image: (H, W, 3) uint8, the hole filled.
        hole: (H, W) uint8, 1 where it was filled; at most a part of the picture.

    Returns:
        (H, W, 3) uint8, unchanged outside the hole.
    """
    known = (hole == 0).astype(np.float64)
    short = min(int(known.any(axis).sum()) for axis in (0, 1))
    averaged = max(1.0, short / AVERAGED)

    def energy(detail: np.ndarray, part: np.ndarray) -> np.ndarray:
        total = ndimage.gaussian_filter(np.square(detail).mean(2) * part, averaged, mode="constant")
        share = ndimage.gaussian_filter(part, averaged, mode="constant")
        return np.asarray(np.log(total / np.maximum(share, 1e-6) + ENERGY_FLOOR))

    pixels = image.astype(np.float64)
    wanted = energy(_detail(pixels, known)[1], known)
    carried = carry_on(wanted[..., None], _beside(hole, max(1, short // BAND)))[..., 0]
    blurred, detail = _detail(pixels, 1 - known)
    gain = np.clip(np.exp((carried - energy(detail, 1 - known)) / 2), *GAIN)
    return _pasted(blurred + gain[..., None] * detail, image, hole)
