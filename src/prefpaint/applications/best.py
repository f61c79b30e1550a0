"""Fill holes with the best of several fills by the reward, and say how far to believe that it is the best."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.context import CONTEXT, Patch, paint_patches, paste, read_hole
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.photographs.sources import to_rgb8
from prefpaint.reward.model import RewardModel
from prefpaint.trust.choice import ChoiceErrors, Interval, read_choice_errors


@dataclass(frozen=True)
class Verdict:
    """What the reward says of the fills that were chosen for a picture's holes.

    Attributes:
        samples: fills of each hole that were chosen from.
        level: nominal coverage of the intervals.
        reward: of the chosen fills, in normalised-score units: 0 for an average fill of the base.
        gain: by how much it exceeds that of the average fill that was chosen from; 0 where there was one.
    """

    samples: int
    level: float
    reward: Interval
    gain: Interval

    @property
    def sure(self) -> bool:
        """Whether the chosen fills are better than average ones: the interval of the gain lies above 0."""
        return self.gain.low > 0

    @property
    def sentence(self) -> str:
        """The same for a reader; empty where there was nothing to choose."""
        if self.samples == 1:
            return ""
        level = f"{100 * self.level:g} %"
        if self.gain.value == 0:
            return f"The reward is the same for all {self.samples} fills, so the first was taken."
        if not math.isfinite(self.gain.low):
            return f"Too few validation prompts were rated to say with {level} confidence whether this is the best."
        if self.sure:
            return (
                f"Chosen with {level} confidence: better than an average one of the {self.samples} fills by "
                f"{self.gain.low:.2f} to {self.gain.high:.2f}."
            )
        return (
            f"Too close to choose with {level} confidence: this fill may be {-self.gain.low:.2f} worse to "
            f"{self.gain.high:.2f} better than an average one of the {self.samples}."
        )


@dataclass(frozen=True)
class Best:
    """The picture with the fills that the reward prefers.

    Attributes:
        image: RGB, of the picture's size.
        verdict: what the reward says of them.
    """

    image: Image.Image
    verdict: Verdict


@dataclass(frozen=True)
class Chooser:
    """Prefers the fill with the highest reward. Called with fills, hole and words it gives the number of that fill.

    Attributes:
        reward: with `score`, as `reward.model.RewardModel`.
        errors: how wrong the reward was about such choices before.
    """

    reward: Any
    errors: ChoiceErrors

    @classmethod
    def load(cls, folder: Path | str = "data/06_models") -> "Chooser":
        """The reward of a run and its errors on validation prompts.

        Args:
            folder: of the run's models.

        Raises:
            PrefPaintError: something is missing or damaged.
        """
        path = Path(folder) / "choice_errors.json"
        reward = RewardModel.from_pretrained(Path(folder) / "reward").to(distributed.device())
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise PrefPaintError(
                f"{path}: is missing or damaged, and without it a choice has no interval; "
                "run `kedro run --pipeline=bound`"
            ) from error
        return cls(reward, read_choice_errors(given))

    def rewards(self, fills: np.ndarray, hole: np.ndarray, text: str = "") -> np.ndarray:
        """Rewards of fills of one hole.

        Args:
            fills: (S, H, W, 3) uint8, the hole filled.
            hole: (H, W) uint8, 1 where the fill is.
            text: what should be there.

        Returns:
            (S,) float.

        Raises:
            PrefPaintError: there is no fill, or a reward is not a number.
        """
        if not len(fills):
            raise PrefPaintError("there is no fill to choose from; give 1 or more")
        found, _ = self.reward.score(fills, hole[None].repeat(len(fills), 0), texts=[text] * len(fills))
        bad = ~np.isfinite(found)
        if bad.any():
            raise PrefPaintError(
                f"the reward of fill {int(bad.argmax())} is not a number; run `kedro run --pipeline=reward` again"
            )
        return np.asarray(found, np.float64)

    def __call__(self, fills: np.ndarray, hole: np.ndarray, text: str = "") -> int:
        """The number of the fill with the highest reward, the first of equals; see `rewards`."""
        return int(self.rewards(fills, hole, text).argmax())

    def verdict(self, rewards: Sequence[np.ndarray], filled: Sequence[int]) -> Verdict:
        """What is known of a picture, each of whose crops got the best of its fills.

        Reward and gain of the picture are means over its crops by how many pixels each fills. C crops get intervals of
        level 1 − (1 − level) / C, so that all of them hold at once with the given level however they depend on each
        other (Bonferroni), and with them their mean.

        Args:
            rewards: (S,) of each crop.
            filled: pixels that each crop fills.
        """
        samples, level = len(rewards[0]), self.errors.level
        best = np.average([each.max() for each in rewards], weights=filled)
        gain = np.average([each.max() - each.mean() for each in rewards], weights=filled)
        half, half_gain = self.errors.half_widths(samples, 1 - (1 - level) / len(rewards))
        return Verdict(samples, level, _around(float(best), half), _around(float(gain), half_gain))


def _around(value: float, half: float) -> Interval:
    return Interval(value, value - half, value + half)


def paint_best(
    inpainter: Any,
    image: np.ndarray,
    hole: np.ndarray,
    seed: int,
    text: str,
    samples: int,
    chooser: Chooser,
    context: float = CONTEXT,
) -> tuple[list[Patch], Verdict]:
    """Fill the holes of a picture, crop by crop, with the best of several fills.

    Args:
        inpainter, image, hole, seed, text, samples, context: see `inpainting.context.paint_patches`.
        chooser: what prefers one.

    Raises:
        PrefPaintError: see `paint_patches` and `Chooser.rewards`.
    """
    rewards = []

    def choose(fills: np.ndarray, hole: np.ndarray, text: str) -> int:
        rewards.append(chooser.rewards(fills, hole, text))
        return int(rewards[-1].argmax())

    patches = list(paint_patches(inpainter, image, hole, seed, text, context, samples, choose))
    return patches, chooser.verdict(rewards, [int(one.context.hole.sum()) for one in patches])


@overload
def inpaint(
    pipe: Any,
    image: Image.Image,
    mask: Image.Image,
    text: str = "",
    *,
    seed: int = 0,
    sampling: SamplingConfig | None = None,
    context: float = CONTEXT,
) -> Image.Image: ...


@overload
def inpaint(
    pipe: Any,
    image: Image.Image,
    mask: Image.Image,
    text: str = "",
    *,
    samples: int,
    chooser: Chooser,
    seed: int = 0,
    sampling: SamplingConfig | None = None,
    context: float = CONTEXT,
) -> Best: ...


def inpaint(
    pipe: Any,
    image: Image.Image,
    mask: Image.Image,
    text: str = "",
    *,
    samples: int = 1,
    chooser: Chooser | None = None,
    seed: int = 0,
    sampling: SamplingConfig | None = None,
    context: float = CONTEXT,
) -> Image.Image | Best:
    """Fill the holes of a picture of any size.

    Args:
        pipe: a diffusers inpainting pipeline of a supported family, such as `AutoPipelineForInpainting` loads. It is
            moved to the GPU where there is one and, unless `sampling.precision` is bf16, turned into float32.
        image: any mode; as upright RGB it is what the result starts from.
        mask: of the picture's size, white where to repaint; grey counts from 128.
        text: what should be there.
        samples: fills of each hole to choose from; time is proportional.
        chooser: what chooses, such as `Chooser.load("data/06_models")`. Every hole gets the fill that it prefers
            before the next one is painted, which may show it.
        seed: of the noise. The first fill is the same for any number of samples.
        sampling: steps, guidance, precision; None for the defaults.
        context: how many times as long and wide as its hole a crop is, at least 1; more shows more of what surrounds
            the hole, and paints a large hole more coarsely.

    Returns:
        An RGB picture of the same size; with a chooser a `Best`, which holds it. Outside the holes and the blended band
        of 1/64 of the crop's side around them, pixels are the picture's own.

    Raises:
        PrefPaintError: the mask has another size, no hole, nothing but a hole, or is partly transparent; too little of
            the picture is left around a hole; `context` or `samples` is below 1; there are several samples without a
            chooser, or a chooser without several samples; a reward is not a number; the pipeline's family is not
            supported; or out of memory.
    """
    if chooser is not None and samples == 1:
        raise PrefPaintError("chooser: has nothing to choose from, because samples is 1; give samples=8, or no chooser")
    pixels = np.array(to_rgb8(image))
    hole = read_hole(mask, pixels.shape[:2])
    inpainter = Inpainter(pipe, sampling or SamplingConfig())
    if chooser is None:
        for patch in paint_patches(inpainter, pixels, hole, seed, text, context, samples):
            paste(pixels, patch)
        return Image.fromarray(pixels)
    patches, verdict = paint_best(inpainter, pixels, hole, seed, text, samples, chooser, context)
    for patch in patches:
        paste(pixels, patch)
    return Best(Image.fromarray(pixels), verdict)
