"""Decoded photographs: the embedded ones and a user's folder."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from prefpaint.errors import PrefPaintError

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
EMBEDDED_NAMES = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle", "china", "flower", "grace_hopper")
MIN_SIDE = 16
# Decoding goes line by line, but the decoded picture is held whole: 400 Mpx of RGB are 1.2 GB.
MAX_PIXELS = 400_000_000


@dataclass(frozen=True)
class Photograph:
    """One source image.

    Attributes:
        name: unique within its collection; the file's relative path for a folder.
        image: (H, W, 3) uint8 sRGB.
        disparity: (H, W) float32, larger is nearer, NaN where unknown; None if it was not measured.
    """

    name: str
    image: np.ndarray
    disparity: np.ndarray | None = None


def embedded_photographs() -> Iterator[Photograph]:
    """The colour photographs inside the scikit-image, scikit-learn and matplotlib wheels; needs no network.

    Only `motorcycle` has a measured disparity map (Middlebury 2014, through scikit-image).
    """
    from matplotlib.cbook import get_sample_data
    from skimage import data
    from sklearn.datasets import load_sample_images

    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        yield Photograph(name, np.asarray(getattr(data, name)())[..., :3])
    left, _, disparity = data.stereo_motorcycle()
    yield Photograph("motorcycle", left, np.where(np.isfinite(disparity), disparity, np.nan))
    samples = load_sample_images()
    for file, image in zip(samples.filenames, samples.images, strict=True):
        yield Photograph(Path(file).stem, np.asarray(image))
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as portrait:
        yield Photograph("grace_hopper", np.asarray(portrait.convert("RGB")))


def to_rgb8(image: Image.Image) -> Image.Image:
    """Any PIL image as upright 8-bit RGB.

    EXIF orientation is applied, transparency is laid over mid-grey, 16-bit and float greys are scaled by
    their type's range (float: by their own minimum and maximum).
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "F":
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            values = np.nan_to_num((values - low) / max(high - low, 1e-12)) * 65535
        image = Image.fromarray(np.clip(values / 257, 0, 255).round().astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        image = Image.alpha_composite(ground, rgba)
    return image.convert("RGB")


def read_image(path: Path, longest_side: int) -> Image.Image:
    """Decode one file, whatever its mode, and reduce it to at most `longest_side` pixels a side.

    Raises:
        PrefPaintError: the file is not an image, is damaged, or is too small or too large to use.
    """
    try:
        # The limit below is ours and generous; PIL's warning at a fifth of it would only confuse.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                width, height = opened.size
                if min(width, height) < MIN_SIDE:
                    raise PrefPaintError(
                        f"{path}: {width}x{height} pixels is too small; at least {MIN_SIDE} a side are needed"
                    )
                if width * height > MAX_PIXELS:
                    raise PrefPaintError(
                        f"{path}: {width}x{height} pixels is too large; at most {MAX_PIXELS:,} pixels are allowed"
                    )
                # JPEG can be decoded at a fraction of its size; a no-op for other formats.
                opened.draft("RGB", (2 * longest_side, 2 * longest_side))
                opened.load()
                image = to_rgb8(opened)
    except PrefPaintError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PrefPaintError(f"{path}: cannot be read as an image ({error}); remove or replace it") from error
    scale = longest_side / max(image.size)
    if scale < 1:
        new = tuple(max(1, round(side * scale)) for side in image.size)
        image = image.resize((new[0], new[1]), Image.Resampling.LANCZOS)
    if min(image.size) < MIN_SIDE:
        raise PrefPaintError(f"{path}: after reduction to {longest_side} pixels a side it is too narrow to use")
    return image


def image_files(folder: Path, key: str = "photographs.folder") -> list[Path]:
    """The image files below a folder, in the order of their paths.

    Args:
        folder: searched recursively.
        key: of the parameter that names the folder, for messages.

    Raises:
        PrefPaintError: the folder does not exist or holds no image file, or a file's name is not UTF-8, which no
            table could hold.
    """
    if not folder.is_dir():
        raise PrefPaintError(f"{key}: {folder} is not a folder; give the folder of your images")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not files:
        raise PrefPaintError(
            f"{key}: {folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}); "
            f"put images there or leave {key} empty for the embedded ones"
        )
    for path in files:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise PrefPaintError(f"{key}: the name of {str(path)!a} is not UTF-8; rename it") from error
    return files
