"""Pictures of the user's own, with their depth."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import check_depth
from prefpaint.errors import PrefPaintError
from prefpaint.masks.depth import checkpoint_depth, pseudo_depth
from prefpaint.photographs.sources import MAX_PIXELS, read_image


def read_depth(path: Path) -> np.ndarray:
    """A depth map from a file, (H, W) float64 above 0; what is unknown is taken from its nearest known neighbour.

    Args:
        path: a 16-bit PNG or TIFF, or a .npy file; larger is farther; 0, infinity and NaN are unknown.

    Raises:
        PrefPaintError: it cannot be read, is not one map, or knows nothing.
    """
    try:
        if path.suffix == ".npy":
            depth = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as opened:
                depth = np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise PrefPaintError(
            f"reconstruct.depth: {path} cannot be read ({error}); give a 16-bit PNG or TIFF, or a .npy file"
        ) from error
    if depth.ndim != 2 or depth.dtype == bool or depth.dtype.kind not in "fui":
        raise PrefPaintError(
            f"reconstruct.depth: {path} holds {depth.dtype} of shape {depth.shape}; give one number for each pixel"
        )
    values = depth.astype(np.float64)
    unknown = ~np.isfinite(values) | (values <= 0)
    if unknown.all():
        raise PrefPaintError(f"reconstruct.depth: {path} has no value above 0; give the distance to each pixel")
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return values[tuple(nearest)]


def own_picture(config: ReconstructConfig, checkpoint: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The configured picture of the user's own, its depth, and where that is from.

    Args:
        config: with a picture.
        checkpoint: for depth estimation, "" for none.

    Returns:
        (H, W, 3) uint8, (H, W) above 0, and measured, estimated or guessed.

    Raises:
        PrefPaintError: a file cannot be read, or depth does not fit the picture.
    """
    assert config.picture is not None
    # Whole, so that its depth can be compared with it; `prepare` reduces both.
    image = np.asarray(read_image(config.picture, MAX_PIXELS))
    if config.depth is not None:
        depth, source = read_depth(config.depth), "measured"
        try:
            check_depth(depth, *image.shape[:2])
        except PrefPaintError as error:
            raise PrefPaintError(f"reconstruct.depth: {config.depth}: {error}") from error
    elif checkpoint:
        depth, source = checkpoint_depth(checkpoint)(image), "estimated"
    else:
        depth, source = pseudo_depth(image), "guessed"
    return image, depth, source
