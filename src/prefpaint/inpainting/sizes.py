"""Models of one size and pictures of another."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.inpainting.classical import classical_fill
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
    # What lies in the hole must not bleed into what is known when it is resized.
    blind = [classical_fill("telea", *one) for one in zip(images, masks, strict=True)]
    large = np.stack(
        [np.asarray(Image.fromarray(one).resize((columns, rows), Image.Resampling.LANCZOS)) for one in blind]
    )
    # Any missing pixel makes what it is resized to missing, so that no grey of a hole is taken for known.
    holes = _resized([255 * mask for mask in masks], columns, rows, Image.Resampling.BOX)
    painted = inpainter.sample(large, (holes > 0).astype(np.uint8), seeds, texts)
    small = _resized(painted, width, height, Image.Resampling.LANCZOS)
    return paste_known(small, images, masks)


def _resized(images: Iterable[np.ndarray], width: int, height: int, how: Image.Resampling) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(image).resize((width, height), how)) for image in images])
