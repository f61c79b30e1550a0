"""Simple baselines: fills that know no photographs, only the pixels around the hole."""

from typing import Literal, get_args

import numpy as np

Classical = Literal["telea", "navier_stokes", "biharmonic"]
CLASSICAL = get_args(Classical)
# OpenCV's neighbourhood in pixels, its documentation's own example.
RADIUS = 3


def classical_fill(kind: Classical, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill a hole without a model; the same every time.

    telea: fast marching (A. Telea, Journal of Graphics Tools 9, 2004), OpenCV. navier_stokes: isophotes as
    streamlines (M. Bertalmio, A. Bertozzi, G. Sapiro, CVPR 2001), OpenCV. biharmonic: the smoothest surface through
    the known pixels (S. Damelin, N. Hoang, Sampling Theory 2018), scikit-image.

    Args:
        kind: which.
        image: (H, W, 3) uint8; what lies in the hole is not seen.
        mask: (H, W) uint8, 1 in the hole.

    Returns:
        (H, W, 3) uint8, known pixels as they were.
    """
    hole = mask > 0
    known = np.where(hole[..., None], np.uint8(0), image)
    if kind == "biharmonic":
        from skimage.restoration import inpaint_biharmonic

        filled = np.rint(255 * np.clip(inpaint_biharmonic(known, hole, channel_axis=-1), 0, 1)).astype(np.uint8)
    else:
        import cv2

        method = {"telea": cv2.INPAINT_TELEA, "navier_stokes": cv2.INPAINT_NS}[kind]
        filled = cv2.inpaint(known, hole.astype(np.uint8), RADIUS, method)
    return np.where(hole[..., None], filled, image)
