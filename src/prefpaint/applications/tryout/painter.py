"""One picture, one mask, both models: what the try-it page does, without the page."""

import io
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.context import Patch, paint_patches, read_hole
from prefpaint.photographs.sources import to_rgb8

# Formats that browsers send; Pillow knows others that have been attacked.
FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_PIXELS = 30_000_000


@dataclass(frozen=True)
class Tried:
    """What both models made of a picture.

    Attributes:
        patches: by method, what changes in the picture, in the order in which it is pasted.
        rewards, widths: by method; how the reward rates the fills, and how little it can be trusted: means over the
            patches, by how many pixels each fills.
    """

    patches: dict[str, list[Patch]]
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
    """

    def __init__(self, inpainters: dict[str, Any], reward: Any, trust: Any) -> None:
        self._inpainters, self._reward, self._trust = inpainters, reward, trust
        self._turn = threading.Lock()

    def paint(self, picture: bytes, mask: bytes, seed: int, text: str = "") -> Tried:
        """Fill a picture's holes with every model, from the same noise.

        Args:
            picture: an encoded image of any size.
            mask: an encoded image of the same shape, bright where the holes are.
            seed: of the noise.
            text: what should be there.

        Raises:
            PrefPaintError: an image cannot be read; the mask has another shape, no hole, or nothing but a hole.
        """
        # One at a time: a picture that is small when it is sent may be large when it is decoded.
        with self._turn:
            image = np.asarray(to_rgb8(read_picture(picture, "picture")))
            hole = read_hole(read_picture(mask, "mask"), image.shape[:2])
            draw = derive_seed("try", seed)
            patches = {
                name: list(paint_patches(inpainter, image, hole, draw, text))
                for name, inpainter in self._inpainters.items()
            }
            rewards, widths = zip(*(self._rate(made, text) for made in patches.values()), strict=True)
        return Tried(patches, dict(zip(patches, rewards, strict=True)), dict(zip(patches, widths, strict=True)))

    def _rate(self, patches: list[Patch], text: str) -> tuple[float, float]:
        # One by one, because they may differ in shape.
        scored = [self._reward.score(one.painted[None], one.hole[None], texts=[text]) for one in patches]
        rewards = [float(reward[0]) for reward, _ in scored]
        widths = [float(self._trust.widths(z)[0]) for _, z in scored]
        filled = [int(one.context.hole.sum()) for one in patches]
        return float(np.average(rewards, weights=filled)), float(np.average(widths, weights=filled))
