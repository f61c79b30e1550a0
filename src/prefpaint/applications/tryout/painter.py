"""One picture, one mask, both models: what the try-it page does, without the page."""

import io
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.photographs.sources import to_rgb8

# Formats that browsers send; Pillow knows others that have been attacked.
FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_PIXELS = 30_000_000


@dataclass(frozen=True)
class Tried:
    """What both models made of a picture.

    Attributes:
        shown: (S, S, 3) uint8, the picture with its hole.
        fills: by method, (S, S, 3) uint8.
        rewards, widths: by method; how the reward rates the fill, and how little it can be trusted.
    """

    shown: np.ndarray
    fills: dict[str, np.ndarray]
    rewards: dict[str, float]
    widths: dict[str, float]


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
        reward: with `score`, as `reward.model.RewardModel`.
        trust: with `widths`, as `trust.fit.Trust`.
        side: of the models' pictures, pixels.
    """

    def __init__(self, inpainters: dict[str, Any], reward: Any, trust: Any, side: int) -> None:
        self._inpainters, self._reward, self._trust, self.side = inpainters, reward, trust, side
        self._turn = threading.Lock()

    def paint(self, picture: bytes, mask: bytes, seed: int) -> Tried:
        """Fill a picture's hole with every model, from the same noise.

        Args:
            picture: an encoded image; its centred square is taken, at the models' size.
            mask: an encoded image of the same shape or of the square, bright where the hole is.
            seed: of the noise.

        Raises:
            PrefPaintError: an image cannot be read, or the mask has no hole or nothing but a hole.
        """
        # One at a time: a picture that is small when it is sent may be large when it is decoded.
        with self._turn:
            image = np.asarray(self._square(to_rgb8(read_picture(picture, "picture")), Image.Resampling.LANCZOS))
            bright = np.asarray(self._square(read_picture(mask, "mask").convert("L"), Image.Resampling.BOX))
            hole = (bright >= 128).astype(np.uint8)
            if not hole.any():
                raise PrefPaintError("the mask has no hole; paint where something is to be filled in")
            if hole.all():
                raise PrefPaintError("the mask covers everything; leave some of the picture to continue from")
            draw = [derive_seed("try", seed)]
            fills = {name: one.sample(image[None], hole[None], draw)[0] for name, one in self._inpainters.items()}
            holes = np.repeat(hole[None], len(fills), 0)
            # The page has no words of its own.
            rewards, z = self._reward.score(np.stack(list(fills.values())), holes, texts=[""] * len(fills))
            widths = self._trust.widths(z)
        shown = np.where(hole[..., None] > 0, np.uint8(128), image)
        return Tried(
            shown,
            fills,
            dict(zip(fills, map(float, rewards), strict=True)),
            dict(zip(fills, map(float, widths), strict=True)),
        )

    def _square(self, image: Image.Image, resampling: Image.Resampling) -> Image.Image:
        edge = min(image.size)
        left, top = (image.width - edge) // 2, (image.height - edge) // 2
        return image.crop((left, top, left + edge, top + edge)).resize((self.side, self.side), resampling)
