"""Holes as people keep them: pictures of masks, and the polygons and run lengths of COCO's JSON."""

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.sources import MAX_PIXELS, open_image

logger = logging.getLogger(__name__)

# A hole for a picture of (width, height): (height, width) uint8, 1 where it is to be repainted.
Hole = Callable[[int, int], np.ndarray]
# Grey by more than this, a share of black to white, and in more than this share of its pixels: a mask is soft. What
# smoothing and JPEG leave at an edge is less.
SOFT = 0.05
# Coordinates beyond this are no picture's.
FARTHEST = 1e6
# A mask may differ in shape from its picture by the rounding of a resize, not by more.
SHAPE_TOLERANCE = 0.02


def read_mask(path: Path, width: int, height: int, invert: bool) -> np.ndarray:
    """Decode a mask and resize it to its picture.

    Args:
        path: of an image, white where the picture is to be repainted. Greys are parted in the middle; a mask of 0 and
            1 counts as black and white.
        width, height: of the picture.
        invert: black is to be repainted.

    Returns:
        (height, width) uint8, 1 in the hole.

    Raises:
        PrefPaintError: the file cannot be read, its shape is another than the picture's, or it is partly transparent.
            The sentence says what is wrong, not of which file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open_image(path) as opened:
                if opened.width * opened.height > MAX_PIXELS:
                    raise PrefPaintError(f"is too large; at most {MAX_PIXELS:,} pixels are allowed")
                opened.load()
                grey = mask_grey(opened)
    except PrefPaintError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PrefPaintError(f"cannot be read as an image ({error}); remove or replace it") from error
    _check_shape((grey.shape[1], grey.shape[0]), width, height)
    soft = float(((grey > SOFT) & (grey < 1 - SOFT)).mean())
    if soft > SOFT:
        logger.warning("%s: is soft (%.0f %% of it is grey); it is cut at middle grey", path, 100 * soft)
    return resized(((grey >= 0.5) != invert).astype(np.uint8), width, height)


def _check_shape(own: tuple[int, int], width: int, height: int) -> None:
    if abs(own[0] * height / (own[1] * width) - 1) > SHAPE_TOLERANCE:
        raise PrefPaintError(
            f"is a mask of {own[0]}x{own[1]} pixels for a picture of {width}x{height}, another shape; save it in the "
            "shape of its picture"
        )


def mask_grey(opened: Image.Image) -> np.ndarray:
    """A mask of any mode, upright, as (H, W) float in [0, 1].

    Raises:
        PrefPaintError: it is partly transparent, or a pixel is not a finite number. The sentence says what is wrong,
            not of which mask.
    """
    opened = ImageOps.exif_transpose(opened)
    if opened.mode in ("RGBA", "LA", "PA") or "transparency" in opened.info:
        rgba = np.asarray(opened.convert("RGBA"))
        # Some tools keep the hole there, others what is to be kept.
        if np.ptp(rgba[..., 3]) > 0:
            raise PrefPaintError("is partly transparent; save the mask without transparency, white where to repaint")
        opened = Image.fromarray(rgba[..., :3])
    if opened.mode.startswith("I") or opened.mode == "F":
        values = np.asarray(opened, dtype=np.float64)
        if not np.isfinite(values).all():
            raise PrefPaintError("has pixels that are NaN or infinite; save the mask as 8 bit, white where to repaint")
        most = values.max()
        # 16-bit greys, but 0 and 1, or 0 and 255, are kept in such files as well.
        return values / (1 if most <= 1 else 255 if most <= 255 else 65535)
    values = np.asarray(opened.convert("L"), dtype=np.float64)
    return values / (1 if values.max() <= 1 else 255)


def resized(mask: np.ndarray, width: int, height: int) -> np.ndarray:
    """A mask at another size: a pixel is in the hole if half of what it shows is.

    Args:
        mask: (H, W) uint8, 1 in the hole.
        width, height: wanted.

    Returns:
        (height, width) uint8.
    """
    if mask.shape == (height, width):
        return mask
    box = Image.fromarray(mask * np.uint8(255)).resize((width, height), Image.Resampling.BOX)
    return (np.asarray(box) >= 128).astype(np.uint8)


def coco_hole(segmentation: Any, full: tuple[int, int]) -> Hole:
    """A segmentation of COCO's JSON.

    Args:
        segmentation: polygons as [[x, y, x, y, …], …], or run lengths as {"size": [height, width], "counts": …}, with
            counts as a list or compressed in a string.
        full: (width, height) of the picture that the coordinates refer to.

    Raises:
        PrefPaintError: what is wrong with it, without saying where it stands; the hole raises it, too, for a picture
            of another shape.
    """
    if isinstance(segmentation, Mapping):
        runs = _runs(segmentation, full)

        def from_runs(width: int, height: int) -> np.ndarray:
            _check_shape(full, width, height)
            return resized(_from_runs(runs, full), width, height)

        return from_runs
    if not _is_list(segmentation) or not segmentation:
        raise PrefPaintError("its segmentation is neither polygons nor run lengths")
    polygons = []
    for polygon in segmentation:
        if not _is_list(polygon) or len(polygon) < 6 or len(polygon) % 2 or not all(map(_is_number, polygon)):
            raise PrefPaintError("a polygon of its segmentation is not a list of three or more points x, y")
        if max(abs(value) for value in polygon) > FARTHEST:
            raise PrefPaintError("a polygon of its segmentation lies far outside the picture")
        polygons.append(np.array(polygon, dtype=np.float64).reshape(-1, 2))

    def from_polygons(width: int, height: int) -> np.ndarray:
        _check_shape(full, width, height)
        return _from_polygons(polygons, (width / full[0], height / full[1]), width, height)

    return from_polygons


def united(holes: Sequence[Hole]) -> Hole:
    """Several holes of one picture as one."""
    return lambda width, height: np.maximum.reduce([hole(width, height) for hole in holes])


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _from_polygons(polygons: Sequence[np.ndarray], scale: tuple[float, float], width: int, height: int) -> np.ndarray:
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    for points in polygons:
        # Coordinates are of pixels' corners, PIL's of their centres.
        draw.polygon([(float(x), float(y)) for x, y in points * scale - 0.5], fill=255)
    return (np.asarray(image) > 0).astype(np.uint8)


def _runs(segmentation: Mapping[str, Any], full: tuple[int, int]) -> list[int]:
    """Checked run lengths."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not _is_list(size) or list(size) != [full[1], full[0]]:
        raise PrefPaintError(f"its run lengths are not of the picture's size [{full[1]}, {full[0]}]")
    if isinstance(counts, str):
        counts = runs_from_text(counts)
    if not _is_list(counts) or not all(isinstance(run, int) and run >= 0 for run in counts):
        raise PrefPaintError("its run lengths are not whole numbers")
    if sum(counts) != full[0] * full[1]:
        raise PrefPaintError(f"its run lengths do not add up to the picture's {full[0] * full[1]} pixels")
    return list(counts)


def _from_runs(runs: Sequence[int], full: tuple[int, int]) -> np.ndarray:
    """Run lengths count pixels down the columns, first those outside."""
    values = np.resize(np.array([0, 1], np.uint8), len(runs))
    return np.repeat(values, runs).reshape(full[0], full[1]).T.copy()


def runs_from_text(text: str) -> list[int]:
    """Run lengths of COCO's compressed strings.

    A number is written in groups of five bits, the lowest first, each as a character from "0" on; the sixth bit says
    that more follow, and the highest bit of the last group is the sign. From the third on, numbers are differences from
    the one two before (`rleToString` in the COCO API).

    Raises:
        PrefPaintError: the text is not such a string.
    """
    runs: list[int] = []
    value = shift = 0
    for place, character in enumerate(text):
        group = ord(character) - 48
        if not 0 <= group < 64 or shift > 40:
            raise PrefPaintError(f"its compressed run lengths are wrong at character {place + 1}")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            value -= (1 << shift) if group & 16 else 0
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    if shift:
        raise PrefPaintError("its compressed run lengths end too early")
    return runs
