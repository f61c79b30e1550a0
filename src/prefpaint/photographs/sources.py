"""Decoded photographs: the embedded ones and a user's folder."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from prefpaint.errors import PrefPaintError, needs_extra

PLAIN_SUFFIXES = {
    *(".apng", ".avif", ".bmp", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pgm", ".png"),
    *(".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"),
}
# What the extra `formats` reads.
EXTRA_SUFFIXES = {".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl"}
IMAGE_SUFFIXES = PLAIN_SUFFIXES | EXTRA_SUFFIXES
# What operating systems leave beside pictures; macOS' `._photo.jpg` even has a picture's ending. In lower case.
LITTER = {".ds_store", "desktop.ini", "thumbs.db", "ehthumbs.db", ".localized", "icon\r", ".directory"}
LITTER_FOLDERS = {"__macosx", ".appledouble", ".spotlight-v100", ".trashes", ".fseventsd", "@eadir", "$recycle.bin"}
# Of ISO/IEC 23008-12; AVIF's own are Pillow's.
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
# Other files of a folder that a message names.
NAMED_FILES = 5
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

    EXIF orientation is applied, transparency is laid over mid-grey, and greys of more than 8 bits are scaled
    (`_grey8`).

    Raises:
        PrefPaintError: such greys have no range to scale by. The sentence says what is wrong, not of which picture.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = Image.fromarray(_grey8(np.asarray(image, dtype=np.float64), image.mode == "F"))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
        image = Image.alpha_composite(ground, rgba)
    return image.convert("RGB")


def _grey8(values: np.ndarray, is_float: bool) -> np.ndarray:
    """Greys of more than 8 bits as uint8: 0 to 65535 for integers, and their own minimum to maximum for others.

    Raises:
        PrefPaintError: there is a NaN or an infinity, which has no place among greys, or the picture would come out
            black or in one colour, which it is not.
    """
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise PrefPaintError(
            f"{bad} of its {values.size} pixels are NaN or infinite, so that it has no range of greys; replace these "
            "pixels, or save it as 8 or 16 bit"
        )
    low, high = float(values.min()), float(values.max())
    if is_float or low < 0 or high > 65535:
        if high == low:
            raise PrefPaintError(
                f"all its pixels are {low:g}, so that it has no range of greys to be scaled by; save it as 8 or 16 bit"
            )
        return ((values - low) / (high - low) * 255).round().astype(np.uint8)
    if 0 < high <= 255:
        raise PrefPaintError(
            f"it has 16 bits or more, of which it uses {high:g} of 65535 levels, so that it would come out black; save "
            "it as 8 bit"
        )
    return (values / 257).round().astype(np.uint8)


def open_image(path: Path) -> Image.Image:
    """`PIL.Image.open`, which also knows HEIF and JPEG XL where the extra `formats` is installed.

    Raises:
        PrefPaintError: the file is of such a format, whatever its name, and the extra is missing.
        OSError, ValueError, SyntaxError: it cannot be opened.
    """
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            head = file.read(16)
        if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
            with needs_extra("formats", f"{path} is HEIF and"):
                import pillow_heif
            pillow_heif.register_heif_opener()
        elif head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
            with needs_extra("formats", f"{path} is JPEG XL and"):
                import pillow_jxl  # noqa: F401
        else:
            raise
        return Image.open(path)


def read_image(path: Path, longest_side: int) -> Image.Image:
    """Decode one file, whatever its mode, and reduce it to at most `longest_side` pixels a side.

    Raises:
        PrefPaintError: the file is not an image, is damaged, or is too small or too large to use.
    """
    try:
        # The limit below is ours and generous; PIL's warning at a fifth of it would only confuse.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_image(path) as opened:
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
                try:
                    image = to_rgb8(opened)
                except PrefPaintError as error:
                    raise PrefPaintError(f"{path}: {error}") from error
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
    """The image files below a folder, in the order of their paths; what operating systems leave there is ignored.

    Args:
        folder: searched recursively.
        key: of the parameter that names the folder, for messages.

    Raises:
        PrefPaintError: the folder does not exist or holds no image file, or a file's name is not UTF-8, which no
            table could hold.
    """
    if not folder.is_dir():
        raise PrefPaintError(f"{key}: {folder} is not a folder; give the folder of your images")
    files = [path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        others = other_files(folder)
        raise PrefPaintError(
            f"{key}: {folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))})"
            f"{f', only {count_files(others)}' if others else ''}; put images there or leave {key} empty for the "
            "embedded ones"
        )
    for path in files:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise PrefPaintError(f"{key}: the name of {str(path)!a} is not UTF-8; rename it") from error
    return files


def other_files(folder: Path) -> list[str]:
    """Names of a folder's files that `image_files` leaves out, in order; hidden ones do not count."""
    names = (path.relative_to(folder) for path in _files(folder) if path.suffix.lower() not in IMAGE_SUFFIXES)
    return [name.as_posix() for name in names if not any(part.startswith(".") for part in name.parts)]


def count_files(names: Sequence[str]) -> str:
    """How many files there are of which ending, most frequent first, and the names of the first: a phrase."""
    endings = Counter(Path(name).suffix.lower() or "no ending" for name in names)
    counts = ", ".join(f"{count} of {ending}" for ending, count in endings.most_common(NAMED_FILES))
    rest = len(endings) - NAMED_FILES
    first = ", ".join(names[:NAMED_FILES])
    more = ", …" if len(names) > NAMED_FILES else ""
    return f"{len(names)} other files ({counts}{f' and {rest} more endings' if rest > 0 else ''}): {first}{more}"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not _is_litter(path.relative_to(folder)) and path.is_file())


def _is_litter(path: Path) -> bool:
    name, folders = path.name.lower(), {part.lower() for part in path.parts[:-1]}
    return name.startswith("._") or name in LITTER or bool(folders & LITTER_FOLDERS)
