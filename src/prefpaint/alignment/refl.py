"""ReFL and DRaFT: the gradient of a differentiable reward, straight through the last steps of the chain.

Xu et al. 2023, "ImageReward" (arXiv 2304.05977), algorithm 1: sampling stops at a random late step, whose estimate of
the clean picture is scored. Clark et al. 2024, "Directly Fine-Tuning Diffusion Models on Differentiable Rewards" (arXiv
2309.17400): the gradient flows back through the last K steps (DRaFT-K).
"""

from collections.abc import Iterator
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
from prefpaint.alignment.panels import GREY, reward_panel, trust_panel
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.rollouts import Chosen, choose
from prefpaint.alignment.scorers import DifferentiableScorer, Prompts
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.chain import denoised, mean_over, per_image, step_mean
from prefpaint.inpainting.sampling import Inpainter


def refl_loss(reward: Tensor, gamma: Tensor, margin: float | None) -> Tensor:
    """−γ r, or γ · max(m − r, 0) with a margin m; (N,).

    Args:
        reward: r, (N,); gradients flow through it.
        gamma: (N,) trust weights.
        margin: None for none.
    """
    return gamma * (-reward if margin is None else (margin - reward).clamp(min=0))


class DirectGradient:
    """Samples fills, and raises their reward by its own gradient.

    Args:
        inpainter: samples; guidance is used in the steps with a gradient, too.
        scorer: gives rewards through which gradients flow.
        prompts: to sample.
        config: how.

    Raises:
        PrefPaintError: there are no prompts, or the chain is shorter than the steps to train.
    """

    keeps_old = False

    def __init__(
        self, inpainter: Inpainter, scorer: DifferentiableScorer, prompts: Prompts, config: AlignConfig
    ) -> None:
        if len(prompts.ids) == 0:
            raise PrefPaintError("align: there are no train prompts; run `kedro run --pipeline=masks`")
        self.inpainter, self.scorer, self.prompts, self.config = inpainter, scorer, prompts, config

    def identity(self) -> dict[str, Any]:
        """The prompts in their order."""
        return {"prompts": list(self.prompts.ids)}

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One round: sample, score, one update."""
        config = self.config
        chosen = choose(self.prompts, config, iteration)
        first = config.steps - config.refl.last_steps
        if config.refl.path == "jump":
            rng = np.random.default_rng(derive_seed("updates", config.seed, iteration))
            first = int(rng.integers(first, config.steps))
        found = [np.zeros((5, 0))]
        for start in range(0, len(chosen.ids), config.micro_batch):
            part = chosen[slice(start, start + config.micro_batch)]
            loss, watched = self._loss(policy, part, first)
            (loss.sum() / chosen.total).backward()
            policy.accumulate()
            found.append(watched.double().cpu().numpy())
        norm = policy.step()
        loss, reward, width, gamma, pull = np.concatenate(distributed.gather(np.concatenate(found, 1)), 1)
        return {
            "images": float(chosen.total),
            "loss": float(loss.mean()),
            "reward": float(reward.mean()),
            "width": float(np.mean(width)),
            "gamma": float(gamma.mean()),
            "gamma_spread": float(gamma.std()),
            "gradient_norm": norm,
            **({"drift_from_base": float(pull.mean())} if config.refl.pull > 0 else {}),
        }

    def _loss(self, policy: Policy, part: Chosen, first: int) -> tuple[Tensor, Tensor]:
        """Loss (n,), and (5, n): loss, reward, width, γ, squared difference to the base's predictions."""
        painter = self.inpainter
        pixels, drift = self._paint(policy, part, first)
        holes = torch.from_numpy(part.masks).to(painter.device)[:, None].float()
        shown = holes * pixels + (1 - holes) * (painter.pixels(part.images) + 1) / 2
        reward, width, gamma = self.scorer.differentiable(shown, holes, part.texts)
        if not bool(torch.isfinite(reward.detach()).all()):
            raise PrefPaintError("align.mode: refl got a reward that is not finite, and cannot follow its gradient")
        loss = refl_loss(reward, gamma, self.config.refl.margin) + self.config.refl.pull * drift
        return loss, torch.stack([loss.detach(), reward.detach(), width, gamma, drift.detach()])

    def _paint(self, policy: Policy, part: Chosen, first: int) -> tuple[Tensor, Tensor]:
        """Fills (n, 3, H, W) in [0, 1], and the mean squared difference to the base's predictions, (n,).

        Gradients flow through both, from step `first` on.
        """
        painter, config = self.inpainter, self.config
        schedule = painter.schedule(*part.images.shape[1:3])
        with torch.no_grad():
            noise = painter.draw_noise(part.seeds, painter.latent_shape(*part.images.shape[1:3]))
            condition = painter.condition(part.images, part.masks, noise[1], part.texts)
            latents = noise[0]
            for index in range(first):
                predicted = painter.predict(policy.network, latents, schedule.levels[index], condition)
                mean = step_mean(schedule, index, latents, predicted)
                latents = mean + per_image(schedule.sigma[index], mean) * noise[index + 2]
        drifts = []
        for index in range(first, config.steps):
            level = schedule.levels[index]
            predicted = painter.predict(policy.network, latents, level, condition)
            if config.refl.pull > 0:
                with torch.no_grad(), policy.reference() as network:
                    base = painter.predict(network, latents, level, condition)
                weight = condition.mask if config.hole_only else None
                drifts.append(mean_over((predicted - base).square(), weight))
            if config.refl.path == "jump":
                signal, spread = per_image(level.signal, latents), per_image(level.spread, latents)
                latents, _ = denoised(schedule.prediction, latents, predicted, signal, spread)
                break
            mean = step_mean(schedule, index, latents, predicted)
            latents = mean + per_image(schedule.sigma[index], mean) * noise[index + 2]
        drift = torch.stack(drifts).mean(0) if drifts else torch.zeros(len(latents), device=painter.device)
        return painter.decode_pixels(latents), drift


def _method(job: Job, inpainter: Inpainter) -> DirectGradient:
    scorer = job.reward_to_raise()
    if not isinstance(scorer, DifferentiableScorer):
        raise PrefPaintError("align.mode: refl needs a reward with a gradient; choose another mode")
    # Gradients pass through the reward model and are not for it.
    job.reward_model.requires_grad_(False)
    return DirectGradient(inpainter, scorer, job.prompts_of("train"), job.config)


def _metrics(history: pd.DataFrame) -> dict[str, float | int]:
    drift = {"drift_from_base": float(history["drift_from_base"].iloc[-1])} if "drift_from_base" in history else {}
    return {
        "gamma_mean": float(history["gamma"].mean()),
        "gamma_spread": float(history["gamma_spread"].mean()),
        **drift,
    }


def _panels(free: Iterator[Axes], history: pd.DataFrame, config: AlignConfig, weight: str) -> None:
    reward_panel(next(free), history)
    trust_panel(next(free), history, weight)
    if "drift_from_base" in history:
        axes = next(free)
        axes.plot(history["iteration"] + 1, history["drift_from_base"], color=GREY)
        axes.set(title="Difference to the base's predictions", ylabel="mean square")


REFL = Mode(
    method=_method,
    objective="reward",
    objective_words="mean reward",
    raises_reward=True,
    metrics=_metrics,
    panels=_panels,
)
