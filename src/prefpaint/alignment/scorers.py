"""What alignment samples from and what it raises: prompts, and scorers of filled images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from prefpaint.images import ImageFolder
from prefpaint.reward.model import RewardModel
from prefpaint.trust.fit import Trust
from prefpaint.trust.gamma import Amplification


@dataclass(frozen=True)
class Scores:
    """What a scorer says of N images; each (N,) float. `reward` is what is to be raised."""

    reward: np.ndarray
    width: np.ndarray
    gamma: np.ndarray


class Scorer(Protocol):
    """Anything that scores filled images: uint8 (N, H, W, 3) and masks (N, H, W)."""

    def __call__(self, images: np.ndarray, masks: np.ndarray) -> Scores: ...


@dataclass(frozen=True)
class TrustedReward:
    """The learned reward with its trust weights; the scorer of the `align` pipeline.

    Attributes:
        model: gives rewards and embeddings.
        trust: gives widths.
        weigh: combines both.
        batch: images scored at a time.
    """

    model: RewardModel
    trust: Trust
    weigh: Amplification
    batch: int

    def __call__(self, images: np.ndarray, masks: np.ndarray) -> Scores:
        reward, z = self.model.score(images, masks, self.batch)
        width = self.trust.widths(z)
        return Scores(self.weigh.reward(reward, width), width, self.weigh.gamma(width))


@dataclass(frozen=True)
class Prompts:
    """Prompts by id, read from disk as they are needed."""

    ids: Sequence[str]
    images: ImageFolder
    masks: ImageFolder
