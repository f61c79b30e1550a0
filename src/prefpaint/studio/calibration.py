"""Pages with a known answer, shown before real work."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.images import ImageFolder
from prefpaint.masks.config import RATED_SPLITS
from prefpaint.masks.words import text_prompts

# The least a careful rater gives the original, and the most for a hole full of noise or of one colour.
GOOD_FROM, BAD_TO = 5, 3
GOOD = "original"
FILLS = (GOOD, "noise", "flat")


@dataclass(frozen=True)
class KnownFill:
    """A candidate whose quality is known."""

    prompt_id: str
    fill: str

    @property
    def id(self) -> str:
        """Unlike any candidate's."""
        return f"{self.prompt_id}/{self.fill}"

    @classmethod
    def of(cls, name: str) -> "KnownFill | None":
        """The fill of an id, None for a candidate's id."""
        prompt_id, slash, fill = name.rpartition("/")
        return cls(prompt_id, fill) if slash else None


def calibration_prompts(prompts: pd.DataFrame, count: int, seed: int) -> list[str]:
    """Prompts whose original is known and that nobody rates, in the order in which they are shown.

    Args:
        prompts: prompt_id, split, pattern and, where there are words, text_prompt.
        count: how many are wanted.
        seed: of the choice.

    Returns:
        Up to `count` ids. A warp has no original, and where people say what should be in the hole, or mask it
        themselves, the original may be what they want to be rid of; these are never among them.
    """
    words = prompts["prompt_id"].map(text_prompts(prompts))
    fit = ~prompts["split"].isin(RATED_SPLITS) & ~prompts["pattern"].isin(["warp", "own"]) & (words == "")
    names = sorted(prompts.loc[fit, "prompt_id"], key=lambda name: derive_seed("calibration", seed, name))
    return names[:count]


def paint(known: KnownFill, images: ImageFolder, masks: ImageFolder) -> np.ndarray:
    """The picture of a known fill, (H, W, 3) uint8.

    `original` is the photograph; `noise` fills the hole with pixels of the kept part at random; `flat` with the
    opposite of the kept part's mean colour.
    """
    image, hole = images[known.prompt_id].copy(), masks[known.prompt_id] > 0
    if known.fill == "noise":
        rng = np.random.default_rng(derive_seed("calibration", known.id))
        image[hole] = rng.permuted(rng.choice(image[~hole], int(hole.sum())), axis=0)
    elif known.fill == "flat":
        image[hole] = 255 - image[~hole].mean(0).astype(np.uint8)
    return image


def passed(overall: dict[str, int]) -> bool:
    """Whether the original was called good and the others bad.

    Args:
        overall: rating by fill.
    """
    bad = [score for fill, score in overall.items() if fill != GOOD]
    return overall[GOOD] >= GOOD_FROM and max(bad) <= BAD_TO
