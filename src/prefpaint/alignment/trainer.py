"""The alignment loop: sample, paste back, score, weigh, update, checkpoint."""

import copy
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.objectives import batch_advantages, gaussian_kl, group_advantages, policy_loss
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.ddim import ddim_mean, log_probability
from prefpaint.inpainting.sampling import Inpainter, Trajectory
from prefpaint.progress import Progress
from prefpaint.reward.amplification import Amplification
from prefpaint.reward.model import RewardModel
from prefpaint.reward.trust import Trust
from prefpaint.state import load_state, save_state


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
        weigh: what is made of both.
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
    """Prompts to align on, read from disk as they are needed."""

    ids: Sequence[str]
    images: ImageFolder
    masks: ImageFolder


@dataclass(frozen=True)
class _Batch:
    """One iteration's samples: P prompts × K candidates, flattened to N, and what training needs of them."""

    trajectory: Trajectory
    advantage: Tensor
    gamma: Tensor


class Aligner:
    """DDPO on an inpainter's UNet.

    `policy` is what samples and learns; `averaged`, the moving average of its weights, is the result. Every
    random choice comes from (seed, iteration), so both and the optimiser's state after an iteration are all
    that a resumed run needs.

    Args:
        inpainter: the base model; its sampling configuration fixes the chain.
        scorer: gives rewards and trust weights.
        prompts: to sample.
        config: everything else.
    """

    def __init__(self, inpainter: Inpainter, scorer: Scorer, prompts: Prompts, config: AlignConfig) -> None:
        if len(prompts.ids) == 0:
            raise PrefPaintError("align: there are no train prompts; run `kedro run --pipeline=masks`")
        sigmas = inpainter.schedule.sigma.tolist()
        self.trainable_steps = [i for i in inpainter.schedule.stochastic if sigmas[i] >= config.least_sigma]
        if len(self.trainable_steps) < config.trained_steps:
            raise PrefPaintError(
                f"align.trained_steps: {config.trained_steps} steps are to be trained but only "
                f"{len(self.trainable_steps)} of the chain are random enough; lower it or align.least_sigma, or raise "
                "align.steps"
            )
        self.inpainter, self.scorer, self.prompts, self.config = inpainter, scorer, prompts, config
        self.base = inpainter.pipe.unet.requires_grad_(False)
        self.policy: Any = copy.deepcopy(self.base).requires_grad_(True)
        self.averaged: Any = copy.deepcopy(self.base)
        self.optimizer = torch.optim.AdamW(
            self.policy.parameters(), lr=config.lr, betas=(0.9, 0.999), weight_decay=config.weight_decay
        )
        self.history: list[dict[str, float]] = []

    def run(self, workspace: Path, key: str) -> list[dict[str, float]]:
        """Align to the end, going on from the workspace's checkpoint where there is one.

        Args:
            workspace: folder for checkpoints.
            key: digest of everything the run depends on besides configuration and base weights; a
                checkpoint of another run is set aside.

        Returns:
            One row of figures per iteration.
        """
        name = fingerprint(self.config, list(self.prompts.ids), key, module_digest(self.base))
        folder = workspace / name
        for other in workspace.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        folder.mkdir(exist_ok=True)
        self._restore(folder / "state.pt")
        with Progress("align", self.config.iterations, len(self.history)) as progress:
            for iteration in range(len(self.history), self.config.iterations):
                row = self.iterate(iteration)
                self.history.append(row)
                progress.step(reward=row["reward"], gamma=row["gamma"], clipped=row["clipped"])
                if (iteration + 1) % self.config.checkpoint_every == 0 or iteration + 1 == self.config.iterations:
                    self._checkpoint(folder / "state.pt")
        return self.history

    def iterate(self, iteration: int) -> dict[str, float]:
        """One round of sampling and updating; returns its figures."""
        batch, row = self._collect(iteration)
        row |= self._update(batch, iteration)
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.policy.parameters(), strict=True):
                mean.lerp_(value, 1 - self.config.average)
        return {"iteration": float(iteration), **row}

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

    def _collect(self, iteration: int) -> tuple[_Batch, dict[str, float]]:
        cfg = self.config
        ids = [prompt_id for prompt_id in self._choose_prompts(iteration) for _ in range(cfg.candidates)]
        seeds = [derive_seed("align", cfg.seed, iteration, prompt, n) for n, prompt in enumerate(ids)]
        images, masks = self.prompts.images.stack(ids), self.prompts.masks.stack(ids)
        parts = []
        for start in range(0, len(ids), cfg.micro_batch):
            rows = slice(start, start + cfg.micro_batch)
            parts.append(
                self.inpainter.rollout(images[rows], masks[rows], seeds[rows], self.policy, hole_only=cfg.hole_only)
            )
        trajectory = concatenate(parts)
        scores = self.scorer(trajectory.images, masks)
        rewards = torch.from_numpy(np.asarray(scores.reward, np.float64)).reshape(-1, cfg.candidates)
        finite = torch.isfinite(rewards)
        rewards = rewards.masked_fill(~finite, float("nan"))
        normalise = group_advantages if cfg.advantage == "group" else batch_advantages
        advantage = normalise(rewards, cfg.advantage_clip).reshape(-1)
        gamma = torch.from_numpy(np.nan_to_num(np.asarray(scores.gamma, np.float64)))
        within = (rewards - rewards.nanmean(dim=1, keepdim=True)).square().nanmean().sqrt()
        row = {
            "reward": float(rewards.nanmean()),
            "reward_spread_within_prompt": float(within),
            "rewards_dropped": float((~finite).sum()),
            "width": float(np.nanmean(scores.width)),
            "gamma": float(gamma.mean()),
            "gamma_spread": float(gamma.std()),
        }
        device = self.inpainter.device
        return _Batch(trajectory, advantage.float().to(device), gamma.float().to(device)), row

    def _update(self, batch: _Batch, iteration: int) -> dict[str, float]:
        cfg = self.config
        rng = np.random.default_rng(derive_seed("updates", cfg.seed, iteration))
        steps = sorted(rng.choice(self.trainable_steps, cfg.trained_steps, replace=False).tolist())
        order = rng.permutation(len(batch.advantage))
        ratios: list[Tensor] = []
        clipped, divergences, norms = [], [], []
        for share in np.array_split(order, cfg.inner_updates):
            for start in range(0, len(share), cfg.micro_batch):
                rows = torch.from_numpy(share[start : start + cfg.micro_batch])
                for index in steps:
                    loss, ratio, cut, divergence = self._step_loss(batch, index, rows)
                    # Mean over the share's samples and steps, whatever the micro-batches.
                    (loss * (len(rows) / (len(share) * len(steps)))).backward()
                    ratios.append(ratio.cpu())
                    clipped.append(float(cut))
                    divergences.append(float(divergence))
            norms.append(float(nn.utils.clip_grad_norm_(self.policy.parameters(), cfg.gradient_norm)))
            self.optimizer.step()
            self.optimizer.zero_grad()
        ratio = torch.cat(ratios)
        return {
            "ratio": float(ratio.mean()),
            "ratio_least": float(ratio.min()),
            "ratio_most": float(ratio.max()),
            "clipped": float(np.mean(clipped)),
            "kl": float(np.mean(divergences)),
            "gradient_norm": float(np.mean(norms)),
        }

    def _step_loss(self, batch: _Batch, index: int, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Loss, ratios, clip fraction and KL of one denoising step for some samples."""
        painter, cfg, chain = self.inpainter, self.config, batch.trajectory
        condition = chain.condition[rows]
        weight = condition.mask if cfg.hole_only else None
        sigma = float(painter.schedule.sigma[index])
        before, after = chain.latents[index, rows], chain.latents[index + 1, rows]
        mean = ddim_mean(painter.schedule, index, before, painter.predict(self.policy, before, index, condition))
        log_prob = log_probability(after.float(), mean.float(), sigma, weight)
        result = policy_loss(log_prob, chain.log_probs[index, rows], batch.advantage[rows], batch.gamma[rows], cfg.clip)
        if cfg.kl == 0:
            return result.loss, result.ratio, result.clipped, torch.tensor(math.nan)
        with torch.no_grad():
            predicted = painter.predict(self.base, before, index, condition)
        base_mean = ddim_mean(painter.schedule, index, before, predicted)
        divergence = gaussian_kl(mean.float(), base_mean.float(), sigma, weight).mean()
        return result.loss + cfg.kl * divergence, result.ratio, result.clipped, divergence.detach()

    def _checkpoint(self, file: Path) -> None:
        state = {
            "policy": self.policy.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
        }
        save_state(state, file)

    def _restore(self, file: Path) -> None:
        saved = load_state(file)
        if saved is None:
            return
        self.policy.load_state_dict(saved["policy"])
        self.averaged.load_state_dict(saved["averaged"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = saved["history"]


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
