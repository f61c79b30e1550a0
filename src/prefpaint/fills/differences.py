"""How far fills lie from the hidden original, and from each other, pixel by pixel in the hole."""

import numpy as np

# Rounding to whole grey levels by itself leaves this mean squared error; it keeps the PSNR finite.
LEAST_SQUARED_ERROR = 1 / 12


def hole_ssim(images: np.ndarray, original: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Structural similarity to the original, averaged over the hole (Wang, Bovik, Sheikh, Simoncelli 2004).

    Args:
        images: (N, H, W, 3) uint8.
        original: (H, W, 3) uint8.
        mask: (H, W), 1 in the hole.

    Returns:
        (N,) float64, at most 1.
    """
    from skimage.metrics import structural_similarity

    maps = (structural_similarity(original, image, channel_axis=-1, full=True)[1] for image in images)
    return np.array([found[mask > 0].mean() for found in maps])


def hole_psnr(images: np.ndarray, originals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio over the hole, dB.

    Args:
        images: (N, H, W, 3) uint8.
        originals: (H, W, 3) uint8.
        mask: (H, W), 1 in the hole.

    Returns:
        (N,) float64.
    """
    inside = mask > 0
    error = np.square(images[:, inside].astype(np.float64) - originals[inside]).mean((1, 2))
    return 10 * np.log10(255**2 / np.maximum(error, LEAST_SQUARED_ERROR))


def hole_spread(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How far each sample lies from the mean of its siblings in the hole: root mean square, grey levels.

    Args:
        images: (n, H, W, 3) uint8, samples of one prompt.
        mask: (H, W), 1 in the hole.

    Returns:
        (n,) float64; NaN for a single sample.
    """
    if len(images) < 2:
        return np.full(len(images), np.nan)
    values = images[:, mask > 0].astype(np.float64)
    others = (values.sum(0) - values) / (len(values) - 1)
    return np.sqrt(np.square(values - others).mean((1, 2)))
