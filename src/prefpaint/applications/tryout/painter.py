"""One picture, one mask, both models: what the try-it page does, without the page."""

import io
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.applications.best import Chooser, Verdict, paint_best
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.context import Patch, read_hole
from prefpaint.photographs.sources import to_rgb8

# Formats that browsers send; Pillow knows others that have been attacked.
FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_PIXELS = 30_000_000


@dataclass(frozen=True)
class Tried:
    """What a model made of a picture.

    Attributes:
        patches: what changes in the picture, in the order in which it is pasted.
        verdict: what the reward says of it.
    """

    patches: list[Patch]
    verdict: Verdict


def read_picture(data: bytes, what: str) -> Image.Image:
    """Decode an image that somebody sent.

    Args:
        data: PNG, JPEG or WebP.
        what: what it is, for the message.

    Raises:
        PrefPaintError: it is not an image, is damaged, or is too large.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise PrefPaintError(f"the {what} has more than {LARGEST_PIXELS:,} pixels; send a smaller one")
            image.load()
            return image.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PrefPaintError(f"the {what} is not a PNG, JPEG or WebP picture, or is damaged; send another") from error


class Painter:
    """Base and aligned model, filling one picture at a time.

    Args:
        inpainters: an `inpainting.sampling.Inpainter` per method.
        chooser: prefers one of several fills.
    """

    def __init__(self, inpainters: dict[str, Any], chooser: Chooser) -> None:
        self._inpainters, self._chooser = inpainters, chooser
        self._turn = threading.Lock()

    def paint(self, picture: bytes, mask: bytes, seed: int, text: str = "", samples: int = 1) -> dict[str, Tried]:
        """Fill a picture's holes with every model, from the same noise.

        Args:
            picture: an encoded image of any size.
            mask: an encoded image of the same shape, bright where the holes are.
            seed: of the noise.
            text: what should be there.
            samples: fills of each hole, of which the best by the reward is kept.

        Returns:
            By method.

        Raises:
            PrefPaintError: an image cannot be read; the mask has another shape, no hole, or nothing but a hole.
        """
        # One at a time: a picture that is small when it is sent may be large when it is decoded.
        with self._turn:
            image = np.asarray(to_rgb8(read_picture(picture, "picture")))
            hole = read_hole(read_picture(mask, "mask"), image.shape[:2])
            draw = derive_seed("try", seed)
            return {
                name: Tried(*paint_best(inpainter, image, hole, draw, text, samples, self._chooser))
                for name, inpainter in self._inpainters.items()
            }
