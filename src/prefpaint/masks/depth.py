"""Depth maps for view-change holes: measured, from a checkpoint, or a documented guess."""

from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.pretrained import load_pretrained

KEY = "masks.geometry.depth_checkpoint"

DepthEstimator = Callable[[np.ndarray], np.ndarray]


def depth_from_disparity(disparity: np.ndarray, nearest: float = 1.0) -> np.ndarray:
    """Depth ∝ 1 / disparity, scaled so that the nearest point has the given depth.

    Args:
        disparity: (H, W), pixels, larger is nearer, NaN where unknown (filled from the nearest known).

    Returns:
        (H, W) float32, `nearest` and up.
    """
    unknown = ~np.isfinite(disparity) | (disparity <= 0)
    if unknown.all():
        raise PrefPaintError("the disparity map has no known value")
    index = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    filled = disparity[tuple(index)].astype(np.float64)
    return (nearest * filled.max() / filled).astype(np.float32)


def pseudo_depth(image: np.ndarray) -> np.ndarray:
    """A smooth substitute where depth was not measured and no checkpoint is configured.

    Inverse depth is 0.5 at the top and 1 at the bottom (the ground is near, the horizon far), raised by
    up to 0.35 where the image differs from its border's mean colour (things stand out from their
    background), all blurred over a twelfth of the shorter side. It is a guess with plausible parallax,
    not an estimate of the scene.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W) float32 depth, about 0.7 to 2.
    """
    values = image.astype(np.float64) / 255
    height, width = values.shape[:2]
    border = np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]]).mean(0)
    difference = np.abs(values - border).mean(2)
    smooth = ndimage.gaussian_filter(difference, min(height, width) / 12)
    standing_out = smooth / max(float(smooth.max()), 1e-6)
    ground = np.linspace(0.5, 1.0, height)[:, None]
    return (1.0 / (ground + 0.35 * standing_out)).astype(np.float32)


def checkpoint_depth(checkpoint: str) -> DepthEstimator:
    """A depth estimator from any `transformers` depth-estimation checkpoint (Depth Anything, DPT, …).

    Args:
        checkpoint: folder or hub id. Its prediction is taken as inverse depth, as these models give it.

    Raises:
        PrefPaintError: the checkpoint cannot be loaded or is of another kind; or, from the estimator, it gives numbers
            that are not finite.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    model, processor = load_pretrained(
        KEY,
        checkpoint,
        "give a folder or hub id of a depth-estimation checkpoint with safetensors weights (Depth Anything, DPT)",
        AutoModelForDepthEstimation,
        (partial(AutoImageProcessor.from_pretrained, backend="pil"),),
        use_safetensors=True,
    )
    # On a GPU where there is one: a large model takes seconds a photograph on a CPU.
    model.to(distributed.device())

    def estimate(image: np.ndarray) -> np.ndarray:
        inputs = processor(images=Image.fromarray(image), return_tensors="pt").to(model.device)
        with torch.inference_mode():
            predicted = model(**inputs).predicted_depth
        resized = torch.nn.functional.interpolate(
            predicted[:, None].float(), image.shape[:2], mode="bicubic", align_corners=False
        )[0, 0]
        inverse = resized.cpu().numpy()
        if not np.isfinite(inverse).all():
            raise PrefPaintError(f"{KEY}: {checkpoint} gives depth that is not finite; give another checkpoint")
        low, high = float(inverse.min()), float(inverse.max())
        # Relative inverse depth has no scale: map it to [0.25, 1], the nearest point at depth 1.
        return (1.0 / (0.25 + 0.75 * (inverse - low) / max(high - low, 1e-6))).astype(np.float32)

    return estimate


def encode_depth(depth: np.ndarray) -> np.ndarray:
    """Depth as a 16-bit image that can be kept as PNG.

    Args:
        depth: (H, W) float, positive.

    Returns:
        (H, W) uint16, proportional to inverse depth, 65535 at the nearest point. The unit of depth is lost;
        view-change holes do not depend on it.
    """
    return np.clip(np.rint(65535 * depth.min() / depth), 1, 65535).astype(np.uint16)


def decode_depth(encoded: np.ndarray) -> np.ndarray:
    """Depth from `encode_depth`'s image, (H, W) float32, 1 at the nearest point."""
    return (65535 / encoded).astype(np.float32)
