"""Holes such as people make them: boxes and brush strokes.

Masks are (H, W) uint8, 1 where pixels are missing, 0 where they are known.
"""

import math

import numpy as np
from PIL import Image, ImageDraw

# Width over height of boxes: between a portrait's and a landscape's of 2 : 1.
ASPECT = 2.0
# Strokes turn by up to this between one piece and the next, radians.
TURN = 0.9


def box_mask(shape: tuple[int, int], fraction: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """One box at a random place.

    Args:
        shape: height and width of the image in pixels.
        fraction: least and largest share of the image that is missing; drawn uniformly, and met to the rounding of
            the sides.
        rng: source of the draws.

    Returns:
        (height, width) uint8 mask.
    """
    area = rng.uniform(*fraction) * shape[0] * shape[1]
    aspect = math.exp(rng.uniform(-math.log(ASPECT), math.log(ASPECT)))
    width = int(np.clip(round(math.sqrt(area * aspect)), 1, shape[1] - 1))
    height = int(np.clip(round(area / width), 1, shape[0] - 1))
    if height < round(area / width):
        # The image is too low for it.
        width = int(np.clip(round(area / height), width, shape[1] - 1))
    left, top = int(rng.integers(0, shape[1] - width + 1)), int(rng.integers(0, shape[0] - height + 1))
    mask = np.zeros(shape, np.uint8)
    mask[top : top + height, left : left + width] = 1
    return mask


def brush_mask(shape: tuple[int, int], fraction: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Strokes of a round brush.

    A stroke wanders in pieces, turning a little at each; new strokes begin elsewhere until the hole is large enough.
    The last one ends where the share is reached.

    Args:
        shape: height and width of the image in pixels.
        fraction: least and largest share of the image that is missing; drawn uniformly, and met to the pixel.
        rng: source of the draws.

    Returns:
        (height, width) uint8 mask.
    """
    size = math.sqrt(shape[0] * shape[1])
    wanted = max(1, round(rng.uniform(*fraction) * shape[0] * shape[1]))
    mask = np.zeros(shape, bool)
    while mask.sum() < wanted:
        width = rng.uniform(0.06, 0.16) * size
        place, heading = rng.uniform(0, shape[::-1]), rng.uniform(0, 2 * math.pi)
        for _ in range(int(rng.integers(4, 12))):
            heading += rng.uniform(-TURN, TURN)
            after = place + rng.uniform(0.05, 0.2) * size * np.array([math.cos(heading), math.sin(heading)])
            piece = _piece(shape, place, after, width) & ~mask
            missing = wanted - int(mask.sum())
            if piece.sum() >= missing:
                # The piece is cut where the share is reached: its pixels in the order in which the brush comes by.
                rows, columns = np.nonzero(piece)
                along = (columns - place[0]) * math.cos(heading) + (rows - place[1]) * math.sin(heading)
                first = np.argsort(along, kind="stable")[:missing]
                mask[rows[first], columns[first]] = True
                return mask.astype(np.uint8)
            mask |= piece
            place = np.clip(after, 0, shape[::-1])
    return mask.astype(np.uint8)


def _piece(shape: tuple[int, int], start: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """A straight piece of a stroke with round ends, (height, width) bool."""
    image = Image.new("1", shape[::-1])
    draw = ImageDraw.Draw(image)
    draw.line([tuple(start), tuple(end)], fill=1, width=max(1, round(width)))
    for x, y in (start, end):
        draw.ellipse([x - width / 2, y - width / 2, x + width / 2, y + width / 2], fill=1)
    return np.asarray(image)
