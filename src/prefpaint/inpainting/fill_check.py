"""Whether a checkpoint paints: fills that are black, flat, or the same for every seed would be rated for nothing."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from prefpaint.errors import PrefPaintError

# Prompts whose fills must all say the same before a checkpoint is refused for what a single fill may be by chance.
WITNESSES = 3
# Prompts that are remembered until two seeds have given two fills.
REMEMBERED = 64
# Pixels of a hole below which a flat fill says nothing.
LEAST_HOLE = 64
# Grey levels: how far a flat picture is from what should be seen of the known pixels, and what counts as one colour.
FAR, NEAR = 16, 4


class FillCheck:
    """Looks at everything that is painted with a checkpoint, until it is known to paint.

    A real checkpoint never paints one colour over what it was shown, nor the same picture from two seeds. A flat fill
    by itself is no sign: the hole may lie in a white background.

    Args:
        checkpoint: in sentences.
        network: what the component that predicts is called.
    """

    def __init__(self, checkpoint: str, network: str) -> None:
        self._checkpoint, self._network = checkpoint, network
        self._vivid = self._varied = False
        self._flat: set[bytes] = set()
        self._alike: set[bytes] = set()
        # A prompt's first seed and fill, and the seed of a whole picture.
        self._fills: dict[bytes, tuple[int, np.ndarray]] = {}
        self._seeds: dict[bytes, int] = {}

    def predicted(self, values: Tensor) -> None:
        """Look at a network's predictions, (N, C, h, w).

        Raises:
            PrefPaintError: they are one number.
        """
        if bool(values.amax() == values.amin()):
            raise self._refusal(f"its {self._network} predicts the same number everywhere, and paints nothing")

    def decoded(self, latents: Tensor, pixels: Tensor) -> None:
        """Look at pictures as they left the VAE, (N, 3, H, W), and the latents that entered it.

        Raises:
            PrefPaintError: a number is not finite.
        """
        if not bool(torch.isfinite(pixels).all()):
            part = "vae" if bool(torch.isfinite(latents).all()) else self._network
            raise PrefPaintError(
                f"{self._checkpoint}: its {part} gives numbers that are not finite, and fills would be black; give "
                "another checkpoint or, where this one is being aligned, lower align.learning_rate"
            )

    def painted(
        self,
        painted: np.ndarray,
        images: np.ndarray,
        masks: np.ndarray,
        seeds: Sequence[int],
        texts: Sequence[str] | None = None,
    ) -> None:
        """Look at whole pictures, before known pixels are pasted back.

        Args:
            painted: (N, H, W, 3) uint8.
            images: (N, H, W, 3) uint8, of the prompts.
            masks: (N, H, W) uint8, 1 in the hole.
            seeds: N integers.
            texts: N words; None for the same.

        Raises:
            PrefPaintError: they are of one colour, which the prompts are not, or the same for different seeds.
        """
        if self._vivid and self._varied:
            return
        for number, seed in enumerate(seeds):
            hole = masks[number] > 0
            prompt = np.where(hole[..., None], np.uint8(0), images[number])
            words = texts[number] if texts else ""
            key = blake2b(prompt.tobytes() + np.packbits(hole).tobytes() + words.encode()).digest()
            if not self._vivid:
                self._look_for_colour(key, painted[number], images[number], hole)
            if not self._varied:
                self._look_for_seeds(key, painted[number], hole, seed)

    def _look_for_colour(self, key: bytes, painted: np.ndarray, image: np.ndarray, hole: np.ndarray) -> None:
        known, fill = image[~hole].astype(int), painted[hole]
        if _flat(painted.reshape(-1, 3)) and len(known) and np.abs(known - painted[0, 0]).mean() > FAR:
            raise self._refusal(f"paints one colour, {_named(painted[0, 0])}, over everything")
        if len(fill) < LEAST_HOLE:
            return
        if not _flat(fill):
            self._vivid = True
        # Where the picture has that colour, it may be right.
        elif len(known) and (np.abs(known - fill[0]) <= NEAR).all(1).mean() < 0.01:
            self._flat.add(key)
        if not self._vivid and len(self._flat) >= WITNESSES:
            raise self._refusal(f"fills every hole with one colour, such as {_named(fill[0])}")

    def _look_for_seeds(self, key: bytes, painted: np.ndarray, hole: np.ndarray, seed: int) -> None:
        if _flat(painted.reshape(-1, 3)):
            return
        whole = blake2b(painted.tobytes()).digest()
        if self._seeds.setdefault(whole, seed) != seed:
            raise self._refusal("paints the same picture from different seeds")
        fill = painted[hole]
        earlier = self._fills.get(key)
        if earlier is None:
            if len(self._fills) < REMEMBERED:
                self._fills[key] = seed, fill
        elif earlier[0] != seed and len(fill) >= LEAST_HOLE and not _flat(fill, 1):
            # One level is rounding.
            if (np.abs(earlier[1].astype(int) - fill) > 1).any():
                self._varied = True
                self._fills.clear()
                self._seeds.clear()
            else:
                self._alike.add(key)
        if not self._varied and len(self._alike) >= WITNESSES:
            raise self._refusal("paints the same fill from different seeds")
        self._varied = self._varied or len(self._seeds) >= REMEMBERED * WITNESSES

    def _refusal(self, reason: str) -> PrefPaintError:
        return PrefPaintError(
            f"{self._checkpoint}: {reason}; give another checkpoint, or compare its files with those it was copied from"
        )


def _flat(pixels: np.ndarray, levels: int = 0) -> bool:
    """Whether pixels, (n, 3) uint8, are all of one colour, give or take so many levels."""
    return not len(pixels) or bool((np.ptp(pixels, axis=0) <= levels).all())


def _named(colour: np.ndarray) -> str:
    return "black" if not colour.any() else "({}, {}, {})".format(*colour.tolist())
