"""Models of one size and pictures of another."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.inpainting.sampling import Inpainter, paste_known


def painted_shape(height: int, width: int, family: Any) -> tuple[int, int]:
    """Height and width at which a model paints a picture of some shape best: its own area, in multiples of its unit.

    Args:
        height, width: of the picture.
        family: of the model.
    """
    unit, scale = family.factor * family.patch, family.native_size / math.sqrt(height * width)
    rows, columns = (max(unit, round(length * scale / unit) * unit) for length in (height, width))
    return rows, columns


def paint_at_native_size(
    inpainter: Inpainter,
    images: np.ndarray,
    masks: np.ndarray,
    seeds: Sequence[int],
    texts: Sequence[str] | None = None,
) -> np.ndarray:
    """Inpaint prompts of any size with a model of another size.

    Prompts are resized to the model's size in their shape, painted and brought back; known pixels are the prompt's own.

    Args:
        inpainter: what paints.
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) uint8, 1 in the hole.
        seeds: N integers.
        texts: N words, see `Inpainter.condition`.

    Returns:
        (N, H, W, 3) uint8.
    """
    height, width = images.shape[1:3]
    rows, columns = painted_shape(height, width, inpainter.family)
    if (height, width) == (rows, columns):
        return np.asarray(inpainter.sample(images, masks, seeds, texts))
    shape = rows, columns
    large = np.stack([resized_image(*one, shape) for one in zip(images, masks, strict=True)])
    holes = np.stack([resized_hole(mask, shape) for mask in masks])
    painted = inpainter.sample(large, holes, seeds, texts)
    small = [Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS) for one in painted]
    return paste_known(np.stack([np.asarray(one) for one in small]), images, masks)


def resized_image(image: np.ndarray, hole: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A picture at another size, nothing of its hole in what is known: pixels count by their alpha.

    Args:
        image: (H, W, 3) uint8.
        hole: (H, W) uint8, 1 in the hole.
        shape: height and width wanted.

    Returns:
        (height, width, 3) uint8.
    """
    seen = Image.fromarray(np.dstack([image, 255 * (1 - hole)]))
    return np.asarray(seen.resize(shape[::-1], Image.Resampling.LANCZOS).convert("RGB"))


def resized_hole(hole: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A hole at another size: any missing pixel makes what it is resized to missing.

    Args:
        hole: (H, W), above 0 in the hole.
        shape: height and width wanted.

    Returns:
        (height, width) uint8, 1 in the hole.
    """
    white = Image.fromarray((hole > 0) * np.uint8(255))
    return (np.asarray(white.resize(shape[::-1], Image.Resampling.BOX)) > 0).astype(np.uint8)
