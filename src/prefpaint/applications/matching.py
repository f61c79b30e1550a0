"""What is painted beside a picture takes on its colours and the strength of its texture."""

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint.inpainting.panorama import Window

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
# Colours carried outwards are smoothed by so much of the way, and at least by this part of the original's short side.
SMOOTHED, FINEST = 1 / 8, 16


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


def beside(hole: np.ndarray, pixels: int) -> np.ndarray:
    """1 at known pixels within some distance of the hole, float64."""
    return (ndimage.binary_dilation(hole > 0, iterations=pixels) & (hole == 0)).astype(np.float64)


def pasted(fill: np.ndarray, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """The fill, grey levels rounded and clipped, where the hole is above 0, and the image elsewhere; uint8."""
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
    edge = beside(hole, EDGE)
    return pasted(painted + carry_on(image.astype(np.float64) - painted, edge), image, hole)


def blurred_part(pixels: np.ndarray, part: np.ndarray, spread: float) -> np.ndarray:
    """Gaussian blur of a part of a picture; nothing outside the part is seen.

    Args:
        pixels: (H, W, C) float.
        part: (H, W) float, 1 inside the part and 0 outside.
        spread: standard deviation in pixels.

    Returns:
        (H, W, C); outside the part, what lies nearby inside, fading to 0.
    """
    share = ndimage.gaussian_filter(part, spread, mode="constant")[..., None]
    blurred = ndimage.gaussian_filter(pixels * part[..., None], (spread, spread, 0), mode="constant")
    return np.asarray(blurred / np.maximum(share, 1e-6))


def continue_colours(image: np.ndarray, original: Window, shape: tuple[int, int]) -> np.ndarray:
    """An original's colours continued outwards: those of its edge, the smoother the farther they are carried.

    Args:
        image: (h, w, 3) uint8, the original.
        original: where it lies.
        shape: height and width of the whole.

    Returns:
        (height, width, 3) uint8.
    """
    places = [np.arange(length) - begin for length, begin in zip(shape, (original.top, original.left), strict=True)]
    nearest = [np.clip(one, 0, side - 1) for one, side in zip(places, image.shape[:2], strict=True)]
    away = [np.abs(one - there) for one, there in zip(places, nearest, strict=True)]
    wanted = (SMOOTHED * np.hypot(away[0][:, None], away[1])).astype(np.float32)[..., None]
    finest = min(image.shape[:2]) / FINEST
    spread, smooth = 0.0, ndimage.gaussian_filter(image.astype(np.float32), (finest, finest, 0), mode="nearest")
    rows, columns = np.ix_(*nearest)
    whole = smooth[rows, columns]
    # Between blurs that double, what is wanted is interpolated.
    while wanted.max() > spread:
        coarser = max(finest, 2 * spread)
        smoother = ndimage.gaussian_filter(smooth, (coarser, coarser, 0), mode="nearest")
        share = np.clip((wanted - spread) / (coarser - spread), 0, 1)
        whole += share * (smoother[rows, columns] - whole)
        spread, smooth = coarser, smoother
    return np.asarray(np.rint(whole), dtype=np.uint8)


def keep_colours(painted: np.ndarray, wanted: np.ndarray, hole: np.ndarray, spread: float) -> np.ndarray:
    """Give a fill the large-scale colours of another picture and leave its shapes, as ILVR does (Choi et al., 2021).

    Args:
        painted: (H, W, 3) uint8, whose hole is filled.
        wanted: (H, W, 3) uint8, whose colours are wanted in the hole.
        hole: (H, W) uint8, 1 where it was filled.
        spread: standard deviation, in pixels, of the blur that tells large from small.

    Returns:
        (H, W, 3) uint8, unchanged outside the hole.
    """
    change = blurred_part(wanted.astype(np.float32) - painted, (hole > 0).astype(np.float32), spread)
    return pasted(painted + change, painted, hole)


def _detail(pixels: np.ndarray, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blurred pixels of a part of a picture, and what the blur takes from them."""
    blurred = blurred_part(pixels, part, DETAIL)
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
        return blurred_part(np.square(detail).mean(2, keepdims=True), part, averaged) + ENERGY_FLOOR

    pixels = image.astype(np.float64)
    # Energies are averaged, not their logarithms: what is seen of texture are its strong parts.
    wanted = energy(_detail(pixels, known)[1], known)
    carried = carry_on(wanted, beside(hole, max(1, short // BAND)))
    blurred, detail = _detail(pixels, 1 - known)
    gain = np.clip(np.sqrt(carried / energy(detail, 1 - known)), *GAIN)
    return pasted(blurred + gain * detail, image, hole)
