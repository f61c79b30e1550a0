"""Fills that no photograph has: what a judge of photographs must tell from originals.

Every function takes an original (H, W, 3) uint8 and a mask (H, W) uint8, 1 in the hole, and returns the picture with
its hole spoiled, (H, W, 3) uint8; known pixels are the original's. Random ones take a generator.
"""

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from skimage.color import hsv2rgb, rgb2hsv

from prefpaint.inpainting.classical import classical_fill

PATCH = 8
Spoil = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def _into_hole(image: np.ndarray, mask: np.ndarray, fill: np.ndarray) -> np.ndarray:
    clipped = np.clip(np.rint(fill), 0, 255).astype(np.uint8)
    return np.where(mask[..., None] > 0, clipped, image)


def mirror_source(mask: np.ndarray) -> np.ndarray:
    """Which pixel goes where, once the known part is mirrored outwards over its edge.

    A known rectangle is tiled, again and again where one reflection does not reach; of any other hole each pixel takes
    what lies as far on the other side of the nearest known pixel. Known pixels stay where they are, and all do in a
    picture without a known part.

    Args:
        mask: (H, W), above 0 in the hole.

    Returns:
        (H, W) int64, numbers of pixels in reading order.
    """
    known = mask == 0
    own = np.arange(mask.size).reshape(mask.shape)
    if known.all() or not known.any():
        return own
    rows, columns = np.flatnonzero(known.any(1)), np.flatnonzero(known.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if known[box].all():
        height, width = mask.shape
        before, after = (rows[0], height - 1 - rows[-1]), (columns[0], width - 1 - columns[-1])
        return np.pad(own[box], (before, after), mode="symmetric")
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    limit = np.array(mask.shape)[:, None, None] - 1
    across = np.clip(2 * nearest - np.indices(mask.shape), 0, limit)
    # What lies on the other side may be missing too; then its own nearest known pixel stands in.
    across = np.where(known[across[0], across[1]], across, nearest[:, across[0], across[1]])
    return np.where(known, own, own[across[0], across[1]])


def mirrored(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The known part mirrored outwards over its edge, see `mirror_source`."""
    return image.reshape(-1, image.shape[-1])[mirror_source(mask)]


def shuffled(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Squares of 8 px of the known part, in random places."""
    height, width = mask.shape
    inside = ndimage.uniform_filter(mask.astype(np.float64), PATCH, mode="constant", cval=1.0, origin=-PATCH // 2)
    least = inside[: height - PATCH + 1, : width - PATCH + 1]
    places = np.argwhere(least <= least.min() + 1e-9)
    fill = np.zeros_like(image)
    for top in range(0, height, PATCH):
        for left in range(0, width, PATCH):
            y, x = places[rng.integers(len(places))]
            target = fill[top : top + PATCH, left : left + PATCH]
            target[:] = image[y : y + PATCH, x : x + PATCH][: target.shape[0], : target.shape[1]]
    return _into_hole(image, mask, fill)


def one_colour(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean colour of the known part."""
    return _into_hole(image, mask, np.broadcast_to(image[mask == 0].mean(0), image.shape))


def noise(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Independent pixels with the mean and spread of the known part."""
    known = image[mask == 0].astype(np.float64)
    return _into_hole(image, mask, rng.normal(known.mean(0), known.std(0) + 8, image.shape))


def blurred(image: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """The original, blurred by a Gaussian of `sigma` pixels."""
    return _into_hole(image, mask, ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0)))


def scaled(image: np.ndarray, mask: np.ndarray, factor: float) -> np.ndarray:
    """The original, its brightness multiplied by `factor`: 0.8 is darker by 20 %."""
    return _into_hole(image, mask, image * factor)


def hue_turned(image: np.ndarray, mask: np.ndarray, degrees: float) -> np.ndarray:
    """The original, its hues turned by some degrees."""
    hsv = rgb2hsv(image)
    hsv[..., 0] = (hsv[..., 0] + degrees / 360) % 1
    return _into_hole(image, mask, 255 * hsv2rgb(hsv))


def shifted(image: np.ndarray, mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """The original, moved by some pixels; what comes from outside the picture is mirrored."""
    moved = ndimage.shift(image, (down, right, 0), order=0, mode="reflect")
    return _into_hole(image, mask, moved)


def contrast_changed(image: np.ndarray, mask: np.ndarray, factor: float) -> np.ndarray:
    """The original, its distance to its own mean colour multiplied by `factor`."""
    mean = image[mask > 0].mean(0)
    return _into_hole(image, mask, mean + factor * (image - mean))


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _shift_somewhere(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(3, 10)
    return shifted(image, mask, round(length * np.sin(angle)), round(length * np.cos(angle)))


# Every kind with its strength drawn at random, for training.
SPOILS: dict[str, Spoil] = {
    "telea": lambda image, mask, rng: classical_fill("telea", image, mask),
    "navier_stokes": lambda image, mask, rng: classical_fill("navier_stokes", image, mask),
    "biharmonic": lambda image, mask, rng: classical_fill("biharmonic", image, mask),
    "mirrored": lambda image, mask, rng: mirrored(image, mask),
    "shuffled": shuffled,
    "one_colour": lambda image, mask, rng: one_colour(image, mask),
    "noise": noise,
    "blurred": lambda image, mask, rng: blurred(image, mask, rng.uniform(0.8, 4)),
    "scaled": lambda image, mask, rng: scaled(image, mask, float(np.exp(_sign(rng) * rng.uniform(0.1, 0.5)))),
    "hue_turned": lambda image, mask, rng: hue_turned(image, mask, _sign(rng) * rng.uniform(10, 60)),
    "shifted": _shift_somewhere,
    "contrast_changed": lambda image, mask, rng: contrast_changed(
        image, mask, float(np.exp(_sign(rng) * rng.uniform(0.25, 0.8)))
    ),
}
