"""Pictures of the user's own, with their depth."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import check_depth
from prefpaint.errors import PrefPaintError
from prefpaint.masks.depth import DepthEstimator, pseudo_depth
from prefpaint.photographs.sources import MAX_PIXELS, read_image

# Of depth maps, those that are tried first first.
DEPTH_ENDINGS = (".png", ".npy", ".tif", ".tiff")


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


def own_depth_file(picture: Path, config: ReconstructConfig) -> Path | None:
    """Where the depth of one of the user's own pictures is; None if depth is not measured.

    Args:
        picture: the configured one, or one below the configured folder.
        config: with a picture or a folder.
    """
    if config.depth is None or config.folder is None:
        return config.depth
    plain = config.depth / picture.relative_to(config.folder).with_suffix("")
    found = [path for ending in DEPTH_ENDINGS if (path := plain.with_name(plain.name + ending)).is_file()]
    return found[0] if found else plain.with_name(plain.name + DEPTH_ENDINGS[0])


def own_picture(
    picture: Path, depth_file: Path | None, estimate: DepthEstimator | None
) -> tuple[np.ndarray, np.ndarray, str]:
    """A picture of the user's own, its depth, and where that is from.

    Args:
        picture: any file that can be decoded.
        depth_file: its depth, see `read_depth`; None if depth was not measured.
        estimate: of depth that was not measured; None: guessed.

    Returns:
        (H, W, 3) uint8, (H, W) above 0, and measured, estimated or guessed.

    Raises:
        PrefPaintError: a file cannot be read, or depth does not fit the picture.
    """
    # Whole, so that its depth can be compared with it; `prepare` reduces both.
    image = np.asarray(read_image(picture, MAX_PIXELS))
    if depth_file is not None:
        depth = read_depth(depth_file)
        try:
            check_depth(depth, *image.shape[:2])
        except PrefPaintError as error:
            raise PrefPaintError(f"reconstruct.depth: {depth_file}: {error}") from error
        return image, depth, "measured"
    if estimate is not None:
        return image, estimate(image), "estimated"
    return image, pseudo_depth(image), "guessed"
