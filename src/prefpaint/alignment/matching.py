"""Alignment on the forward process: a policy's own fills are noised, and its predictions there are compared.

No log-probabilities, no stored chain; any sampler will do. What an item's loss is, the mode says (`nft`, `awm`).
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.guards import mean_pull, norm_excess
from prefpaint.alignment.job import Job
from prefpaint.alignment.mode import Mode
from prefpaint.alignment.panels import BLUE, GREY, trust_panel
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.rollouts import Rollout, Sampler, gate_metrics
from prefpaint.alignment.scorers import Prompts, Scorer
from prefpaint.config import derive_seed
from prefpaint.inpainting.chain import Levels, Noised, mean_over, noised
from prefpaint.inpainting.families.family import Condition
from prefpaint.inpainting.sampling import Inpainter


@dataclass(frozen=True)
class Items:
    """Noised fills, n of them, with the weight of the elements that count.

    Attributes:
        noised: the fills and what should be predicted there.
        level: n of them.
        condition: of their prompts.
        weight: (n, 1, h, w), see `mean_over`; None for all elements.
        advantage: (n,), γ included.
        gated: (g,) int64, places of the least trusted among them, in memory of the CPU.
        key: (n,) int64, number of each item in the iteration, the same in every process and micro-batch.
    """

    noised: Noised
    level: Levels
    condition: Condition
    weight: Tensor | None
    advantage: Tensor
    gated: Tensor
    key: Tensor


class Objective(Protocol):
    """What a mode does with noised fills.

    Attributes:
        pull: weight of the squared difference to the base's prediction.
        samples_old: whether the old policy samples, rather than the trained one.
        remembers: whether the loss needs the trained policy's predictions from before the first update.
        watched: name of the figure that comes with the loss.
    """

    watched: str
    pull: float
    samples_old: bool
    remembers: bool

    def decay(self, iteration: int) -> float:
        """Of the old policy, after an iteration."""
        ...

    def loss(self, items: Items, now: Tensor, old: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of every item.

        Args:
            items: what was predicted.
            now, old: predictions of the trained and of the old policy, (n, C, h, w); gradients flow through the first.
            before: mean squared errors of the policy that entered the iteration, (n,).

        Returns:
            Loss (n,), and the figure `watched` of each item (n,), detached.
        """
        ...


class ForwardProcess:
    """Samples fills, noises them, and trains on the mode's objective.

    The noise of an item depends on its prompt and step and is shared by all samples of the prompt, so that their
    comparison is one of the samples alone (V-GRPO, arXiv 2604.23380).

    Args:
        inpainter: samples and predicts; guidance is used in sampling only, because a denoising error is one pass's.
        scorer: gives rewards and trust weights.
        prompts: to sample.
        config: how.
        objective: of the mode.

    Raises:
        PrefPaintError: there are no prompts.
    """

    keeps_old = True

    def __init__(
        self, inpainter: Inpainter, scorer: Scorer, prompts: Prompts, config: AlignConfig, objective: Objective
    ) -> None:
        self.sampler = Sampler(inpainter, scorer, prompts, config)
        self.inpainter, self.config, self.objective = inpainter, config, objective

    def identity(self) -> dict[str, Any]:
        """The prompts in their order."""
        return self.sampler.identity()

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One round of sampling and updating."""
        with policy.holding(policy.old) if self.objective.samples_old else nullcontext(policy.network) as network:
            rollout, row = self.sampler.collect(network, iteration)
        row |= self.update(policy, rollout, iteration)
        policy.age(self.objective.decay(iteration))
        return row

    def update(self, policy: Policy, rollout: Rollout, iteration: int) -> dict[str, float]:
        """The optimiser steps of one iteration; returns figures over all processes."""
        config = self.config
        rng = np.random.default_rng(derive_seed("updates", config.seed, iteration))
        steps = np.sort(rng.choice(config.steps, config.trained_steps, replace=False))
        shares = np.array_split(rng.permutation(rollout.total), config.inner_updates)
        before = self._errors_before(policy, rollout, iteration, shares, steps)
        found: list[Tensor] = []
        norms = []
        for share in shares:
            batches = list(self._batches(rollout, iteration, share, steps))
            others = zip(self._of_old(policy, batches), self._of_anchor(policy, batches), strict=True)
            for items, (old, anchor) in zip(batches, others, strict=True):
                loss, watched = self._loss(policy, items, old, anchor, before)
                # The mean over the share's samples and steps, whatever the micro-batches and processes.
                (loss.sum() / (len(share) * len(steps))).backward()
                policy.accumulate()
                found.append(watched)
            norms.append(policy.step())
        parts = distributed.gather(torch.cat(found, 1).cpu().numpy() if found else np.zeros((6, 0), np.float32))
        loss, figure, drift, size, pull, excess = np.concatenate(parts, 1).astype(np.float64)
        return {
            "loss": float(loss.mean()),
            self.objective.watched: float(figure.mean()),
            "drift_from_old": float(drift.mean()),
            "prediction_size": float(size.mean()),
            "gradient_norm": float(np.mean(norms)),
            **({"norm_excess": float(excess.mean())} if config.norm_ceiling > 0 else {}),
            **(policy.follow(mean_pull(pull)) if config.trust == "gate" else {}),
        }

    def _batches(self, rollout: Rollout, iteration: int, share: np.ndarray, steps: np.ndarray) -> Iterator[Items]:
        """Every step of every sample of a share is an item of its own; micro-batches of them."""
        pairs = np.meshgrid(steps, rollout.rows(share), indexing="ij")
        index, rows = (torch.from_numpy(part.reshape(-1)) for part in pairs)
        for start in range(0, len(rows), self.config.micro_batch):
            some = slice(start, start + self.config.micro_batch)
            yield self._items(rollout, iteration, index[some], rows[some])

    def _items(self, rollout: Rollout, iteration: int, index: Tensor, rows: Tensor) -> Items:
        painter, config, chain = self.inpainter, self.config, rollout.chain
        numbers = rows + rollout.first
        seeds = [
            derive_seed("forward", config.seed, iteration, number // config.candidates, step)
            for number, step in zip(numbers.tolist(), index.tolist(), strict=True)
        ]
        shape = chain.latents.shape[2:]
        noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        here = rows.to(painter.device)
        level = chain.schedule.levels[index.to(painter.device)]
        condition = chain.condition[here]
        return Items(
            noised(chain.schedule, chain.latents[-1][here], noise.to(painter.device), level),
            level,
            condition,
            condition.mask if config.hole_only else None,
            rollout.advantage[here] * rollout.gamma[here],
            rollout.gated_among(rows),
            numbers * config.steps + index,
        )

    def _predict(self, network: Any, items: Items) -> Tensor:
        return self.inpainter.predict(network, items.noised.latents, items.level, items.condition, guided=False)

    @torch.no_grad()
    def _of_anchor(self, policy: Policy, batches: list[Items]) -> list[Tensor | None]:
        """The anchor's predictions of the gated items of every batch; None where there are none."""
        if not any(len(items.gated) for items in batches):
            return [None] * len(batches)
        found: list[Tensor | None] = []
        # All at once: each time, every weight may be exchanged twice.
        with policy.anchored() as network:
            for items in batches:
                some = items.gated.to(self.inpainter.device)
                latents, level, condition = items.noised.latents[some], items.level[some], items.condition[some]
                given = network, latents, level, condition
                found.append(self.inpainter.predict(*given, guided=False) if len(some) else None)
        return found

    @torch.no_grad()
    def _of_old(self, policy: Policy, batches: list[Items]) -> list[Tensor | None]:
        """The old policy's predictions; None where it is the trained policy, whose own prediction then does."""
        if policy.at_old():
            return [None] * len(batches)
        # All at once: each time, every weight is exchanged twice.
        with policy.holding(policy.old) as network:
            return [self._predict(network, items) for items in batches]

    @torch.no_grad()
    def _errors_before(
        self, policy: Policy, rollout: Rollout, iteration: int, shares: list[np.ndarray], steps: np.ndarray
    ) -> Tensor:
        """Mean squared errors, by the items' key, of the policy as it enters the iteration; (N · steps,).

        NaN where the loss does not need them or nothing has been updated when it does.
        """
        errors = torch.full((rollout.total * self.config.steps,), float("nan"), device=self.inpainter.device)
        for share in shares[1:] if self.objective.remembers else []:
            for items in self._batches(rollout, iteration, share, steps):
                difference = self._predict(policy.network, items) - items.noised.target
                errors[items.key.to(errors.device)] = mean_over(difference.square(), items.weight)
        return errors

    def _loss(
        self, policy: Policy, items: Items, old: Tensor | None, anchor: Tensor | None, before: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss (n,), and (6, n) figures.

        These are the loss, the objective's figure, the squared drift from the old policy, the prediction's size, the
        squared difference to the anchor's (NaN where an item is not gated), and the size's excess over the base's (0,
        and not computed, without a ceiling).
        """
        config = self.config
        now = self._predict(policy.network, items)
        old = now.detach() if old is None else old
        loss, figure = self.objective.loss(items, now, old, before[items.key.to(before.device)])
        pull, excess = torch.full_like(figure, float("nan")), torch.zeros_like(figure)
        if self.objective.pull > 0 or config.norm_ceiling > 0:
            with torch.no_grad(), policy.reference() as network:
                base = self._predict(network, items)
            if self.objective.pull > 0:
                loss = loss + self.objective.pull * mean_over((now - base).square(), items.weight)
            if config.norm_ceiling > 0:
                over = norm_excess(now, base, items.weight)
                loss, excess = loss + config.norm_ceiling * over.square(), over.detach()
        if anchor is not None:
            some = items.gated.to(now.device)
            weight = None if items.weight is None else items.weight[some]
            apart = mean_over((now[some] - anchor).square(), weight)
            loss, pull = loss.index_add(0, some, config.gate.weight * apart), pull.index_copy(0, some, apart.detach())
        drift = mean_over((now.detach() - old).square(), items.weight)
        size = mean_over(now.detach().square(), items.weight).sqrt()
        return loss, torch.stack([loss.detach(), figure, drift, size, pull, excess])


def forward_metrics(history: pd.DataFrame) -> dict[str, float | int]:
    """Figures of a whole history that every mode of this kind has."""
    return {
        "gamma_mean": float(history["gamma"].mean()),
        "gamma_spread": float(history["gamma_spread"].mean()),
        "prediction_size_change": float(history["prediction_size"].iloc[-1] / history["prediction_size"].iloc[0] - 1),
        "rewards_dropped": int(history["rewards_dropped"].sum()),
        **({"norm_excess": float(history["norm_excess"].iloc[-1])} if "norm_excess" in history else {}),
        **gate_metrics(history),
    }


def forward_panels(free: Iterator[Axes], history: pd.DataFrame, config: AlignConfig, weight: str) -> None:
    """Reward, γ, and how far an iteration moves the policy."""
    x, axes = history["iteration"] + 1, next(free)
    axes.plot(x, history["reward"], color=BLUE, marker=".")
    axes.set(title="Reward of samples", ylabel="reward")
    trust_panel(next(free), history, weight)
    axes = next(free)
    axes.plot(x, history["prediction_size"], color=GREY, marker=".")
    axes.set(title="Size of predictions in the hole", ylabel="root mean square")


def forward_mode(objective: Callable[[AlignConfig], Objective]) -> Mode:
    """A mode of this kind.

    Args:
        objective: made from the configuration.
    """

    def method(job: Job, inpainter: Inpainter) -> ForwardProcess:
        config = job.config
        return ForwardProcess(inpainter, job.reward_to_raise(), job.prompts_of("train"), config, objective(config))

    return Mode(
        method=method,
        objective="reward",
        objective_words="mean reward",
        raises_reward=True,
        metrics=forward_metrics,
        panels=forward_panels,
    )
