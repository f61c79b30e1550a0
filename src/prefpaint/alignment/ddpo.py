"""DDPO (Black et al. 2024) with the clipping of PPO and PrefPaint's trust weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.job import Job
from prefpaint.alignment.mode import Mode
from prefpaint.alignment.objectives import batch_advantages, gaussian_kl, group_advantages, policy_loss
from prefpaint.alignment.panels import BLUE, GREY, band
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.scorers import Prompts, Scorer, TrustedReward
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.ddim import ddim_mean, log_probability, per_image
from prefpaint.inpainting.sampling import Inpainter, Trajectory


@dataclass(frozen=True)
class Rollout:
    """This process's samples of one iteration, n of all N, and what training needs from them.

    Attributes:
        chain: n trajectories.
        advantage, gamma: (n,).
        first: number of the first of them among all N.
        total: N.
    """

    chain: Trajectory
    advantage: Tensor
    gamma: Tensor
    first: int
    total: int


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

    def __init__(
        self,
        inpainter: Inpainter,
        scorer: Scorer,
        prompts: Prompts,
        config: AlignConfig,
    ) -> None:
        if len(prompts.ids) == 0:
            raise PrefPaintError("align: there are no train prompts; run `kedro run --pipeline=masks`")
        sigmas = inpainter.schedule.sigma.tolist()
        # A last step without noise (set_alpha_to_one, or η = 0) has no density and cannot be trained.
        self.trainable_steps = [i for i in inpainter.schedule.stochastic if sigmas[i] >= config.least_sigma]
        if len(self.trainable_steps) < config.trained_steps:
            raise PrefPaintError(
                f"align.trained_steps: {config.trained_steps} steps are to be trained but only "
                f"{len(self.trainable_steps)} of the chain are random enough; lower it or align.least_sigma, or raise "
                "align.steps"
            )
        self.inpainter, self.scorer, self.prompts, self.config = inpainter, scorer, prompts, config

    def identity(self) -> dict[str, Any]:
        """The prompts in their order."""
        return {"prompts": list(self.prompts.ids)}

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One round of sampling and updating."""
        rollout, row = self.collect(policy, iteration)
        return {"images": float(rollout.total), **row, **self.update(policy, rollout, iteration)}

    def collect(self, policy: Policy, iteration: int) -> tuple[Rollout, dict[str, float]]:
        """Sample this process's share of the prompts and score all; returns figures over all of them."""
        config = self.config
        chosen = self._choose_prompts(iteration)
        mine = distributed.share(range(len(chosen)))
        ids = [chosen[number] for number in mine for _ in range(config.candidates)]
        first = mine[0] * config.candidates
        # An image's seed depends only on its own position, whichever process makes it.
        seeds = [derive_seed("align", config.seed, iteration, prompt, first + n) for n, prompt in enumerate(ids)]
        images, masks = self.prompts.images.stack(ids), self.prompts.masks.stack(ids)
        parts = []
        for start in range(0, len(ids), config.micro_batch):
            rows = slice(start, start + config.micro_batch)
            parts.append(
                self.inpainter.rollout(
                    images[rows], masks[rows], seeds[rows], policy.network, hole_only=config.hole_only
                )
            )
        chain = concatenate(parts)
        scores = self.scorer(chain.images, masks)
        gathered = distributed.gather((scores.reward, scores.width, scores.gamma))
        reward, width, gamma = (np.concatenate(values).astype(np.float64) for values in zip(*gathered, strict=True))
        rewards = torch.from_numpy(np.where(np.isfinite(reward), reward, np.nan)).reshape(-1, config.candidates)
        normalise = group_advantages if config.advantage == "group" else batch_advantages
        advantage = normalise(rewards, config.advantage_clip).reshape(-1)
        weight = torch.from_numpy(np.nan_to_num(gamma))
        own = slice(first, first + len(ids))
        rollout = Rollout(
            chain,
            advantage[own].float().to(self.inpainter.device),
            weight[own].float().to(self.inpainter.device),
            first,
            len(advantage),
        )
        within = (rewards - rewards.nanmean(dim=1, keepdim=True)).square().nanmean().sqrt()
        return rollout, {
            "reward": float(rewards.nanmean()),
            "reward_spread_within_prompt": float(within),
            "rewards_dropped": float(rewards.isnan().sum()),
            "width": float(np.nanmean(width)),
            "gamma": float(weight.mean()),
            "gamma_spread": float(weight.std()),
        }

    def _choose_prompts(self, iteration: int) -> list[str]:
        """The next prompts of an endless sequence of seeded shuffles of all prompts."""
        total = len(self.prompts.ids)
        chosen = []
        for position in range(iteration * self.config.prompts, (iteration + 1) * self.config.prompts):
            order = np.random.default_rng(derive_seed("prompts", self.config.seed, position // total)).permutation(
                total
            )
            chosen.append(self.prompts.ids[order[position % total]])
        return chosen

    def update(self, policy: Policy, rollout: Rollout, iteration: int) -> dict[str, float]:
        """The optimiser steps of one iteration; returns figures over all processes."""
        config = self.config
        rng = np.random.default_rng(derive_seed("updates", config.seed, iteration))
        steps = np.sort(rng.choice(self.trainable_steps, config.trained_steps, replace=False))
        found: list[Tensor] = []
        norms = []
        for share in np.array_split(rng.permutation(rollout.total), config.inner_updates):
            mine = share - rollout.first
            mine = mine[(mine >= 0) & (mine < len(rollout.advantage))]
            # Every step of every sample is a separate item, so that small batches fill one UNet call.
            index, rows = (torch.from_numpy(part.reshape(-1)) for part in np.meshgrid(steps, mine, indexing="ij"))
            for start in range(0, len(rows), config.micro_batch):
                some = slice(start, start + config.micro_batch)
                loss, watched = self.step_loss(policy, rollout, index[some], rows[some])
                # The mean over the share's samples and steps, whatever the micro-batches and processes.
                (loss.sum() / (len(share) * len(steps))).backward()
                policy.accumulate()
                found.append(watched.cpu())
            norms.append(policy.step())
        parts = distributed.gather(torch.cat(found, 1).numpy() if found else np.zeros((3, 0), np.float32))
        ratio, clipped, divergence = np.concatenate(parts, 1).astype(np.float64)
        row = {
            "ratio": float(ratio.mean()),
            "ratio_least": float(ratio.min()),
            "ratio_most": float(ratio.max()),
            "clipped": float(clipped.mean()),
            "gradient_norm": float(np.mean(norms)),
        }
        return row | ({"kl": float(divergence.mean())} if config.kl > 0 else {})

    def step_loss(self, policy: Policy, rollout: Rollout, index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and figures of some denoising steps.

        Args:
            policy: its network is trained.
            rollout: samples.
            index, rows: (n,) int64, the step of the chain and the sample of each item.

        Returns:
            Loss (n,), and (3, n): ratio, whether clipped, KL to the base (0, and not computed, where align.kl is 0).
        """
        painter, config, chain = self.inpainter, self.config, rollout.chain
        index, rows = index.to(painter.device), rows.to(painter.device)
        condition = chain.condition[rows]
        weight = condition.mask if config.hole_only else None
        before, after = chain.latents[index, rows], chain.latents[index + 1, rows]
        sigma = per_image(painter.schedule.sigma, index, before)
        mean = ddim_mean(painter.schedule, index, before, painter.predict(policy.network, before, index, condition))
        log_prob = log_probability(after, mean, sigma, weight)
        result = policy_loss(
            log_prob, chain.log_probs[index, rows], rollout.advantage[rows], rollout.gamma[rows], config.clip
        )
        loss, divergence = result.loss, torch.zeros_like(result.ratio)
        if config.kl > 0:
            with torch.no_grad(), policy.reference() as base:
                base_mean = ddim_mean(painter.schedule, index, before, painter.predict(base, before, index, condition))
            held = gaussian_kl(mean, base_mean, sigma, weight)
            loss, divergence = loss + config.kl * held, held.detach()
        return loss, torch.stack([result.ratio, result.clipped.float(), divergence])


def concatenate(parts: Sequence[Trajectory]) -> Trajectory:
    """Join trajectories sampled in several batches."""
    first = parts[0]
    return Trajectory(
        type(first.condition)(
            torch.cat([part.condition.mask for part in parts]), torch.cat([part.condition.known for part in parts])
        ),
        torch.cat([part.latents for part in parts], 1),
        torch.cat([part.log_probs for part in parts], 1),
        np.concatenate([part.images for part in parts]),
    )


def _method(job: Job, inpainter: Inpainter) -> PolicyGradient:
    scorer = job.scorer or TrustedReward(job.reward_model, job.trust, job.weigh(), job.reward.score_batch)
    return PolicyGradient(inpainter, scorer, job.prompts_of("train"), job.config)


def _metrics(history: pd.DataFrame) -> dict[str, float | int]:
    return {
        "gamma_mean": float(history["gamma"].mean()),
        "gamma_spread": float(history["gamma_spread"].mean()),
        "ratio_least": float(history["ratio_least"].min()),
        "ratio_most": float(history["ratio_most"].max()),
        "clip_fraction": float(history["clipped"].mean()),
        "rewards_dropped": int(history["rewards_dropped"].sum()),
    }


def _panels(free: Iterator[Axes], history: pd.DataFrame, config: AlignConfig, weight: str) -> None:
    x, axes = history["iteration"] + 1, next(free)
    axes.plot(x, history["reward"], color=GREY, linewidth=1, label="sampled prompts")
    axes.plot(x, history["reward"].rolling(5, min_periods=1).mean(), color=BLUE, label="mean of 5")
    axes.set(title="Reward of samples", ylabel="reward")
    axes.legend(fontsize=7, frameon=False)
    axes = next(free)
    band(axes, x, history["gamma"], history["gamma_spread"], BLUE)
    axes.set(title=f"γ ± 1 spread ({weight})", ylabel="γ")
    # With one update per iteration all ratios are 1.
    if config.inner_updates > 1:
        axes = next(free)
        axes.fill_between(x, history["ratio_least"], history["ratio_most"], color=BLUE, alpha=0.2)
        axes.plot(x, history["ratio"], color=BLUE)
        axes.set(title="Probability ratio, mean and range", ylabel="ratio")


DDPO = Mode(
    method=_method,
    weighs=lambda config: True,
    objective="reward",
    objective_words="mean reward",
    raises_reward=True,
    metrics=_metrics,
    panels=_panels,
)
