"""What every mode that learns from its own fills begins with: sample train prompts, score, compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.guards import least_trusted
from prefpaint.alignment.objectives import batch_advantages, group_advantages
from prefpaint.alignment.order import endless_alike
from prefpaint.alignment.rewards import combine, gather_parts
from prefpaint.alignment.scorers import Prompts, Scorer
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.families.family import Condition
from prefpaint.inpainting.sampling import Inpainter, Trajectory


@dataclass(frozen=True)
class Chosen:
    """This process's share of the samples to draw in one iteration, n of all N.

    Attributes:
        ids, seeds, texts: n prompt ids, the seed of each sample's noise, and words.
        images: (n, H, W, 3) uint8.
        masks: (n, H, W) uint8, 1 where missing.
        first: number of the first of them among all N.
        total: N.
    """

    ids: list[str]
    seeds: list[int]
    texts: list[str]
    images: np.ndarray
    masks: np.ndarray
    first: int
    total: int

    def __getitem__(self, rows: slice) -> "Chosen":
        start = rows.indices(len(self.ids))[0]
        parts = (self.ids[rows], self.seeds[rows], self.texts[rows], self.images[rows], self.masks[rows])
        return Chosen(*parts, self.first + start, self.total)


def choose(prompts: Prompts, config: AlignConfig, iteration: int) -> Chosen:
    """The next prompts of an endless sequence of seeded shuffles of all, `config.candidates` samples each.

    Prompts of an iteration have one shape.
    """
    order = endless_alike("prompts", config.seed, prompts.shapes, iteration, config.prompts)
    mine = distributed.share(range(len(order)))
    ids = [prompts.ids[order[number]] for number in mine for _ in range(config.candidates)]
    first = mine[0] * config.candidates
    # An image's seed depends on its own place alone, whichever process makes it.
    seeds = [derive_seed("align", config.seed, iteration, prompt, first + n) for n, prompt in enumerate(ids)]
    images, masks = prompts.images.stack(ids), prompts.masks.stack(ids)
    return Chosen(ids, seeds, prompts.texts_of(ids), images, masks, first, len(order) * config.candidates)


@dataclass(frozen=True)
class Rollout:
    """This process's samples of one iteration, n of all N, and what training needs of them.

    Attributes:
        chain: n trajectories.
        advantage, gamma: (n,).
        gated: (n,) bool, in memory of the CPU: the least trusted of all N, where trust is a gate.
        first: number of the first of them among all N.
        total: N.
    """

    chain: Trajectory
    advantage: Tensor
    gamma: Tensor
    gated: np.ndarray
    first: int
    total: int

    def rows(self, share: np.ndarray) -> np.ndarray:
        """Which of this process's samples belong to a share of all.

        Args:
            share: int64, numbers among all N.
        """
        mine = share - self.first
        return mine[(mine >= 0) & (mine < len(self.advantage))]

    def gated_among(self, rows: Tensor) -> Tensor:
        """Places of the gated ones among some of this process's samples; both int64, in memory of the CPU."""
        return torch.from_numpy(np.flatnonzero(self.gated[rows.numpy()]))


class Sampler:
    """Samples prompts and scores the fills.

    Args:
        inpainter: samples.
        scorer: gives rewards and trust weights.
        prompts: to sample.
        config: how many, and how they are compared.

    Raises:
        PrefPaintError: there are no prompts.
    """

    def __init__(self, inpainter: Inpainter, scorer: Scorer, prompts: Prompts, config: AlignConfig) -> None:
        if len(prompts.ids) == 0:
            raise PrefPaintError("align: there are no train prompts; run `kedro run --pipeline=masks`")
        self.inpainter, self.scorer, self.prompts, self.config = inpainter, scorer, prompts, config

    def identity(self) -> dict[str, Any]:
        """The prompts in their order."""
        return {"prompts": list(self.prompts.ids)}

    def collect(self, network: Any, iteration: int) -> tuple[Rollout, dict[str, float]]:
        """Sample this process's share of the prompts and score all; returns figures over all of them."""
        config = self.config
        chosen = choose(self.prompts, config, iteration)
        chains = []
        for start in range(0, len(chosen.ids), config.rollout_batch):
            some = chosen[slice(start, start + config.rollout_batch)]
            given = (some.images, some.masks, some.seeds, network, config.hole_only, some.texts)
            chains.append(self.inpainter.rollout(*given))
        chain = concatenate(chains)
        scores = self.scorer(chain.images, chosen.masks, chosen.texts)
        gathered = distributed.gather((scores.reward, scores.width, scores.gamma))
        reward, width, gamma = (np.concatenate(values).astype(np.float64) for values in zip(*gathered, strict=True))
        rewards = torch.from_numpy(np.where(np.isfinite(reward), reward, np.nan)).reshape(-1, config.candidates)
        named = gather_parts(scores.parts, config.candidates)
        raised = combine(named, config) if named else rewards
        normalise = group_advantages if config.advantage == "group" else batch_advantages
        advantage = normalise(raised, config.advantage_clip).reshape(-1)
        weight = torch.from_numpy(np.nan_to_num(gamma))
        gate = config.trust == "gate"
        # Width 0 is full trust: nothing is pulled where trust was left out.
        gated = least_trusted(width, config.gate.share) & (width > 0) if gate else np.zeros(len(width), bool)
        own = slice(chosen.first, chosen.first + len(chosen.ids))
        rollout = Rollout(
            chain,
            advantage[own].float().to(self.inpainter.device),
            weight[own].float().to(self.inpainter.device),
            gated[own],
            chosen.first,
            chosen.total,
        )
        within = (rewards - rewards.nanmean(dim=1, keepdim=True)).square().nanmean().sqrt()
        return rollout, {
            "images": float(rollout.total),
            "reward": float(rewards.nanmean()),
            **{f"reward_{name}": float(values.nanmean()) for name, values in named.items()},
            "reward_spread_within_prompt": float(within),
            "rewards_dropped": float(rewards.isnan().sum()),
            "width": float(np.nanmean(width)) if np.isfinite(width).any() else float("nan"),
            "gamma": float(weight.mean()),
            "gamma_spread": float(weight.std()),
            **({"gated": float(gated.mean())} if gate else {}),
        }


def gate_metrics(history: pd.DataFrame) -> dict[str, float | int]:
    """Figures of a whole history about the gate; none where trust was none."""
    if "pull" not in history:
        return {}
    return {
        "gated": float(history["gated"].mean()),
        "pull": float(history["pull"].mean()),
        "anchor_refreshes": int(history["anchor_refreshed"].sum()),
    }


def concatenate(parts: Sequence[Trajectory]) -> Trajectory:
    """Join trajectories sampled in several batches."""
    first = parts[0]
    return Trajectory(
        Condition.joined([part.condition for part in parts]),
        first.schedule,
        torch.cat([part.latents for part in parts], 1),
        torch.cat([part.log_probs for part in parts], 1),
        np.concatenate([part.images for part in parts]),
    )
