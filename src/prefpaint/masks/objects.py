"""Holes in the shape of what is in the picture: its segments, by a checkpoint or by colour."""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint.pretrained import load_pretrained

# (H, W, 3) uint8 → (H, W) int, one number for each segment.
Segmenter = Callable[[np.ndarray], np.ndarray]


def regions_by_colour(image: np.ndarray) -> np.ndarray:
    """Segments of even colour (Felzenszwalb, Huttenlocher 2004), about as large as things in a picture.

    Args:
        image: (H, W, 3) uint8.

    Returns:
        (H, W) int, from 0 on.
    """
    from skimage.segmentation import felzenszwalb

    pixels = image.shape[0] * image.shape[1]
    # The scale grows with the picture, as its segments do. More smoothing makes segments of edges.
    found = felzenszwalb(image, scale=200 * pixels**0.5 / 64, sigma=0.3, min_size=max(2, pixels // 200))
    return np.asarray(found, dtype=np.int64)


@lru_cache(maxsize=1)
def checkpoint_segments(checkpoint: str) -> Segmenter:
    """Segments by any `transformers` checkpoint for universal segmentation (Mask2Former, MaskFormer, …).

    Args:
        checkpoint: folder or hub id.

    Raises:
        PrefPaintError: the checkpoint cannot be loaded, or is of another kind.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForUniversalSegmentation

    model, processor = load_pretrained(
        "masks.geometry.segmentation_checkpoint",
        checkpoint,
        "give a folder or hub id of a checkpoint for universal segmentation with safetensors weights (Mask2Former)",
        AutoModelForUniversalSegmentation,
        (partial(AutoImageProcessor.from_pretrained, backend="pil"),),
        use_safetensors=True,
    )

    def segment(image: np.ndarray) -> np.ndarray:
        inputs = processor(images=Image.fromarray(image), return_tensors="pt")
        with torch.inference_mode():
            outputs = model(**inputs)
        found = processor.post_process_panoptic_segmentation(outputs, target_sizes=[image.shape[:2]])[0]
        # Pixels of no segment are one more segment, numbered 0, or -1 where there is no other.
        return np.asarray(found["segmentation"].cpu().numpy(), dtype=np.int64)

    return segment


def object_mask(
    image: np.ndarray, segments: np.ndarray, fraction: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """A segment, with neighbours of similar colour until it is large enough.

    Begins with the segment at a random pixel and joins, one after another, the neighbour whose mean colour is closest.
    Of the last two stages the one is taken whose share of the picture is closer to the one that was drawn.

    Args:
        image: (H, W, 3) uint8.
        segments: (H, W) int.
        fraction: least and largest share of the image that is missing; a share is drawn uniformly between them.
        rng: source of the draws.

    Returns:
        (H, W) uint8, 1 where missing. Where neither share is between least and largest, as much of the larger one as
        was drawn, around the first pixel.
    """
    height, width = segments.shape
    wanted = rng.uniform(*fraction)
    row, column = int(rng.integers(height)), int(rng.integers(width))
    numbers, inverse = np.unique(segments, return_inverse=True)
    labels = inverse.reshape(segments.shape)
    colours = np.stack([ndimage.mean(image[..., channel], labels, np.arange(len(numbers))) for channel in range(3)], 1)
    joined = labels == labels[row, column]
    before = joined
    while joined.mean() < wanted:
        around = np.unique(labels[ndimage.binary_dilation(joined) & ~joined])
        mean = image[joined].mean(0)
        before, joined = joined, joined | (labels == around[np.argmin(np.square(colours[around] - mean).sum(1))])
    less, more = before.mean(), joined.mean()
    if fraction[0] <= less <= wanted and wanted - less <= more - wanted:
        best = before
    elif more <= fraction[1]:
        best = joined
    else:
        best = _inside(joined, round(wanted * height * width), row, column)
    return best.astype(np.uint8)


def _inside(segment: np.ndarray, pixels: int, row: int, column: int) -> np.ndarray:
    """The pixels of a segment that are closest to one of them."""
    rows, columns = np.nonzero(segment)
    nearest = np.argsort((rows - row) ** 2 + (columns - column) ** 2, kind="stable")[: max(1, pixels)]
    inside = np.zeros_like(segment)
    inside[rows[nearest], columns[nearest]] = True
    return inside
