"""Advantage-weighted matching: a sample's denoising error falls by as much as its advantage says.

"Advantage Weighted Matching: Aligning RL with Pretraining in Diffusion Models" (arXiv 2509.25050, ICML 2026).
"""

import torch
from torch import Tensor

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.matching import Items, forward_mode
from prefpaint.inpainting.chain import mean_over

POWER, LEAST_ERROR = 0.25, 1e-10


def matching_likelihood(error: Tensor, spread: Tensor) -> Tensor:
    """log p := −σ / ¼ · [(ℓ + δ)^¼ − δ^¼], what a denoising error says of a sample's likelihood.

    Args:
        error: ℓ, (N,), mean squared.
        spread: (N,), σ_t.
    """
    return -spread / POWER * ((error + LEAST_ERROR) ** POWER - LEAST_ERROR**POWER)


def awm_loss(log_p: Tensor, log_p_before: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """max(−A ρ, −A clip(ρ, 0, c)) with ρ = exp(log p − log p_before).

    Args:
        log_p: (N,); gradients flow through it.
        log_p_before: (N,), of the policy that entered the iteration.
        advantage: (N,).
        clip: c.

    Returns:
        Loss and ratio, detached; each (N,).
    """
    ratio = torch.exp(log_p - log_p_before)
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0, clip)), ratio.detach()


class _AWM:
    """The objective of mode awm."""

    watched, samples_old = "ratio", False

    def __init__(self, config: AlignConfig) -> None:
        self.config, self.pull, self.remembers = config, config.awm.pull, config.inner_updates > 1

    def decay(self, iteration: int) -> float:
        return self.config.awm.old_decay

    def loss(self, items: Items, now: Tensor, old: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        noised, awm = items.noised, self.config.awm
        error = mean_over((now - noised.target).square(), items.weight)
        # Until something has been updated, the policy is the one that entered.
        entered = torch.where(before.isnan(), error.detach(), before)
        # Cut to ± 1, as published.
        advantage = items.advantage / self.config.advantage_clip
        loss, ratio = awm_loss(
            matching_likelihood(error, noised.spread), matching_likelihood(entered, noised.spread), advantage, awm.clip
        )
        return loss + awm.old_pull * mean_over((now - old).square(), items.weight), ratio


AWM = forward_mode(_AWM)
