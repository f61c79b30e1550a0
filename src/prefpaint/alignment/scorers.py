"""What alignment samples from and what it raises: prompts, and scorers of filled images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from prefpaint.alignment.guards import pessimistic
from prefpaint.images import ImageFolder
from prefpaint.reward.model import RewardModel
from prefpaint.trust.fit import Trust
from prefpaint.trust.gamma import Amplification


@dataclass(frozen=True)
class Scores:
    """What a scorer says of N images; each (N,) float.

    Attributes:
        reward: what is to be raised.
        width: trust widths; 0 is full trust, NaN where the reward has none.
        gamma: trust weights.
        parts: what `reward` is the weighted sum of, by name; empty where it is a single thing.
    """

    reward: np.ndarray
    width: np.ndarray
    gamma: np.ndarray
    parts: Mapping[str, np.ndarray] = field(default_factory=dict)


class Scorer(Protocol):
    """Anything that scores filled images: uint8 (N, H, W, 3), masks (N, H, W) and their words, N or none."""

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores: ...


@runtime_checkable
class DifferentiableScorer(Protocol):
    """A scorer through which gradients flow."""

    def differentiable(self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """Reward, width and γ.

        Args:
            images: (N, 3, H, W) float32 in [0, 1], holes filled.
            holes: (N, 1, H, W) in {0, 1}.
            texts: their words, N or none.

        Returns:
            Each (N,) float32; only the reward carries gradients.
        """
        ...


@dataclass(frozen=True)
class PlainReward:
    """The learned reward, fully trusted.

    Attributes:
        model: gives rewards.
        batch: images scored at a time.
    """

    model: RewardModel
    batch: int

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        reward, _ = self.model.score(images, masks, self.batch, texts)
        return Scores(reward, np.zeros(len(reward)), np.ones(len(reward)))

    def differentiable(self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """See `DifferentiableScorer`."""
        self.model.eval()
        reward, _ = self.model(images, holes, texts)
        return reward, torch.zeros_like(reward.detach()), torch.ones_like(reward.detach())


@dataclass(frozen=True)
class TrustedReward:
    """The learned reward with its trust; the scorer of the `align` pipeline.

    Attributes:
        model: gives rewards and embeddings.
        trust: gives widths.
        weigh: gives γ and the unit of the width.
        batch: images scored at a time.
        weighs: whether γ counts; else it is 1.
        pessimism: score units taken off the reward per unit of width.
    """

    model: RewardModel
    trust: Trust
    weigh: Amplification
    batch: int
    weighs: bool = True
    pessimism: float = 0.0

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        reward, z = self.model.score(images, masks, self.batch, texts)
        width = self.trust.widths(z)
        if self.pessimism > 0:
            reward = pessimistic(reward, width / self.weigh.unit, self.pessimism)
        return Scores(reward, width, self.weigh.gamma(width) if self.weighs else np.ones_like(width))

    def differentiable(self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()) -> tuple[Tensor, Tensor, Tensor]:
        """See `DifferentiableScorer`; γ weighs, but the reward is not lowered, because the width has no gradient."""
        self.model.eval()
        reward, z = self.model(images, holes, texts)
        width = self.trust.widths(z.detach().float().cpu().numpy())
        gamma = self.weigh.gamma(width)
        return reward, *(
            torch.from_numpy(np.asarray(values, np.float32)).to(reward.device) for values in (width, gamma)
        )


@dataclass(frozen=True)
class Prompts:
    """Prompts by id, read from disk as they are needed.

    Attributes:
        ids: of the prompts.
        images, masks: folders.
        texts: words by id; a prompt without any has `sampling.text_prompt`.
    """

    ids: Sequence[str]
    images: ImageFolder
    masks: ImageFolder
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def shapes(self) -> list[tuple[int, int]]:
        """Height and width of each prompt."""
        return self.images.shapes(self.ids)

    def texts_of(self, ids: Sequence[str]) -> list[str]:
        """Words of some prompts; "" for none."""
        return [self.texts.get(name, "") for name in ids]
