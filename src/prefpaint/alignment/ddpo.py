"""DDPO (Black et al. 2024) with the clipping of PPO and PrefPaint's trust weights."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.guards import mean_pull
from prefpaint.alignment.job import Job
from prefpaint.alignment.mode import Mode
from prefpaint.alignment.objectives import gaussian_kl, policy_loss
from prefpaint.alignment.panels import BLUE, reward_panel, trust_panel
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.rollouts import Rollout, Sampler, gate_metrics
from prefpaint.alignment.scorers import Prompts, Scorer
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.chain import log_probability, per_image, step_mean
from prefpaint.inpainting.sampling import Inpainter


class PolicyGradient:
    """DDPO: sample fills, score them, and make the better ones likelier.

    Args:
        inpainter: draws the samples.
        scorer: gives rewards and trust weights.
        prompts: what is sampled from.
        config: how to sample and train.

    Raises:
        PrefPaintError: there are no prompts, or too few steps of the chain are random.
    """

    keeps_old = False

    def __init__(
        self,
        inpainter: Inpainter,
        scorer: Scorer,
        prompts: Prompts,
        config: AlignConfig,
    ) -> None:
        self.sampler = Sampler(inpainter, scorer, prompts, config)
        # A last step without noise (set_alpha_to_one, or η = 0) has no density and cannot be trained. What can be is
        # the same for all shapes, so that an iteration's steps do not depend on its shape.
        schedules = [inpainter.schedule(*shape) for shape in sorted(set(prompts.shapes))]
        self.trainable_steps = [
            i
            for i in range(config.steps)
            if all(i in one.stochastic and float(one.sigma[i]) >= config.least_sigma for one in schedules)
        ]
        if len(self.trainable_steps) < config.trained_steps:
            raise PrefPaintError(
                f"align.trained_steps: {config.trained_steps} steps are to be trained but only "
                f"{len(self.trainable_steps)} of the chain are random enough; lower it or align.least_sigma, or raise "
                "align.steps"
            )
        self.inpainter, self.config = inpainter, config

    def identity(self) -> dict[str, Any]:
        """The prompts in their order."""
        return self.sampler.identity()

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One round of sampling and updating."""
        rollout, row = self.sampler.collect(policy.network, iteration)
        return {**row, **self.update(policy, rollout, iteration)}

    def update(self, policy: Policy, rollout: Rollout, iteration: int) -> dict[str, float]:
        """The optimiser steps of one iteration; returns figures over all processes."""
        config = self.config
        rng = np.random.default_rng(derive_seed("updates", config.seed, iteration))
        steps = np.sort(rng.choice(self.trainable_steps, config.trained_steps, replace=False))
        found: list[Tensor] = []
        norms = []
        for share in np.array_split(rng.permutation(rollout.total), config.inner_updates):
            # Every step of every sample is a separate item, so that small batches fill one call of the network.
            items = np.meshgrid(steps, rollout.rows(share), indexing="ij")
            index, rows = (torch.from_numpy(part.reshape(-1)) for part in items)
            size = config.micro_batch
            batches = [(index[n : n + size], rows[n : n + size]) for n in range(0, len(rows), size)]
            for batch, anchor in zip(batches, self._of_anchor(policy, rollout, batches), strict=True):
                loss, watched = self.step_loss(policy, rollout, *batch, anchor)
                # The mean over the share's samples and steps, whatever the micro-batches and processes.
                (loss.sum() / (len(share) * len(steps))).backward()
                policy.accumulate()
                found.append(watched)
            norms.append(policy.step())
        parts = distributed.gather(torch.cat(found, 1).cpu().numpy() if found else np.zeros((4, 0), np.float32))
        ratio, clipped, divergence, pull = np.concatenate(parts, 1).astype(np.float64)
        row = {
            "ratio": float(ratio.mean()),
            "ratio_least": float(ratio.min()),
            "ratio_most": float(ratio.max()),
            "clipped": float(clipped.mean()),
            "gradient_norm": float(np.mean(norms)),
        }
        row |= {"kl": float(divergence.mean())} if config.kl > 0 else {}
        return row | (policy.follow(mean_pull(pull)) if config.trust == "gate" else {})

    def _mean(self, network: Any, rollout: Rollout, index: Tensor, rows: Tensor) -> Tensor:
        """Means of steps as a network has them, (n, C, h, w); index and rows as in `step_loss`."""
        chain = rollout.chain
        before, level = chain.latents[index, rows], chain.schedule.levels[index]
        predicted = self.inpainter.predict(network, before, level, chain.condition[rows])
        return step_mean(chain.schedule, index, before, predicted)

    @torch.no_grad()
    def _of_anchor(
        self, policy: Policy, rollout: Rollout, batches: Sequence[tuple[Tensor, Tensor]]
    ) -> list[Tensor | None]:
        """The anchor's means of the gated items of every batch; None where there are none."""
        places = [rollout.gated_among(rows) for _, rows in batches]
        if not any(len(place) for place in places):
            return [None] * len(batches)
        device = self.inpainter.device
        # All at once: each time, every weight may be exchanged twice.
        with policy.anchored() as network:
            return [
                self._mean(network, rollout, index[place].to(device), rows[place].to(device)) if len(place) else None
                for (index, rows), place in zip(batches, places, strict=True)
            ]

    def step_loss(
        self, policy: Policy, rollout: Rollout, index: Tensor, rows: Tensor, anchor: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Loss and figures of some denoising steps.

        Args:
            policy: its network is trained.
            rollout: samples.
            index, rows: (n,) int64, the step of the chain and the sample of each item.
            anchor: the anchor's means of those that are gated, (g, C, h, w); None where there are none.

        Returns:
            Loss (n,), and (4, n): ratio, whether clipped, KL to the base (0, and not computed, where align.kl is 0),
            KL to the anchor (NaN where an item is not gated).
        """
        painter, config, chain = self.inpainter, self.config, rollout.chain
        gated = rollout.gated_among(rows).to(painter.device)
        index, rows = index.to(painter.device), rows.to(painter.device)
        weight = chain.condition[rows].mask if config.hole_only else None
        after = chain.latents[index + 1, rows]
        sigma = per_image(chain.schedule.sigma[index], after)
        mean = self._mean(policy.network, rollout, index, rows)
        log_prob = log_probability(after, mean, sigma, weight)
        result = policy_loss(
            log_prob, chain.log_probs[index, rows], rollout.advantage[rows], rollout.gamma[rows], config.clip
        )
        loss, divergence = result.loss, torch.zeros_like(result.ratio)
        if config.kl > 0:
            with torch.no_grad(), policy.reference() as base:
                base_mean = self._mean(base, rollout, index, rows)
            held = gaussian_kl(mean, base_mean, sigma, weight)
            loss, divergence = loss + config.kl * held, held.detach()
        pull = torch.full_like(result.ratio, float("nan"))
        if anchor is not None:
            held = gaussian_kl(mean[gated], anchor, sigma[gated], None if weight is None else weight[gated])
            loss, pull = loss.index_add(0, gated, config.gate.weight * held), pull.index_copy(0, gated, held.detach())
        return loss, torch.stack([result.ratio, result.clipped.float(), divergence, pull])


def _method(job: Job, inpainter: Inpainter) -> PolicyGradient:
    return PolicyGradient(inpainter, job.reward_to_raise(), job.prompts_of("train"), job.config)


def _metrics(history: pd.DataFrame) -> dict[str, float | int]:
    return {
        "gamma_mean": float(history["gamma"].mean()),
        "gamma_spread": float(history["gamma_spread"].mean()),
        "ratio_least": float(history["ratio_least"].min()),
        "ratio_most": float(history["ratio_most"].max()),
        "clip_fraction": float(history["clipped"].mean()),
        "rewards_dropped": int(history["rewards_dropped"].sum()),
        **gate_metrics(history),
    }


def _panels(free: Iterator[Axes], history: pd.DataFrame, config: AlignConfig, weight: str) -> None:
    reward_panel(next(free), history)
    trust_panel(next(free), history, weight)
    # With one update per iteration all ratios are 1.
    if config.inner_updates > 1:
        x, axes = history["iteration"] + 1, next(free)
        axes.fill_between(x, history["ratio_least"], history["ratio_most"], color=BLUE, alpha=0.2)
        axes.plot(x, history["ratio"], color=BLUE)
        axes.set(title="Probability ratio, mean and range", ylabel="ratio")


DDPO = Mode(
    method=_method,
    objective="reward",
    objective_words="mean reward",
    raises_reward=True,
    metrics=_metrics,
    panels=_panels,
)
