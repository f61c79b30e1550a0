"""Pure functions of alignment: advantages, the clipped policy-gradient loss, the KL to the base.

DDPO (Black et al. 2024) with the clipped surrogate of PPO (Schulman et al. 2017, equation 7), each sample
weighted by its trust γ (PrefPaint, section 3.4).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from prefpaint.inpainting.chain import mean_over

# Rewards that differ by less are equal but for rounding.
SMALLEST_SPREAD = 1e-6


def group_advantages(rewards: Tensor, limit: float) -> Tensor:
    """Rewards minus the mean of their prompt, divided by the common spread of those differences.

    Comparing only samples of the same prompt keeps the prompt's difficulty out of the gradient. One spread for
    all prompts, not one each: a prompt whose samples hardly differ must not be blown up.

    Args:
        rewards: (P, K), K samples of each of P prompts; NaN marks a sample to skip.
        limit: advantages are clipped to ± this.

    Returns:
        (P, K), 0 for skipped samples.
    """
    centred = rewards - rewards.nanmean(dim=1, keepdim=True)
    return _scaled(centred, limit)


def batch_advantages(rewards: Tensor, limit: float) -> Tensor:
    """Rewards normalised over the whole batch, as published; shapes as in `group_advantages`."""
    return _scaled(rewards - rewards.nanmean(), limit)


def _scaled(centred: Tensor, limit: float) -> Tensor:
    spread = centred.square().nanmean().sqrt()
    return torch.nan_to_num(centred / spread.clamp(min=SMALLEST_SPREAD)).clamp(-limit, limit)


@dataclass(frozen=True)
class PolicyLoss:
    """The result of one policy-gradient evaluation.

    Attributes:
        loss: (N,), to be minimised in the mean.
        ratio: (N,) probability ratios, detached.
        clipped: (N,) bool, whether the clipping cut the gradient off.
    """

    loss: Tensor
    ratio: Tensor
    clipped: Tensor


def policy_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, gamma: Tensor, clip: float) -> PolicyLoss:
    """−γ · min(ρ A, clip(ρ, 1 ± ε) A) with ρ = exp(log_prob − old_log_prob).

    Args:
        log_prob: (N,) under the policy now; gradients flow through it.
        old_log_prob: (N,) under the policy that sampled.
        advantage: (N,).
        gamma: (N,) trust weights.
        clip: ε.
    """
    ratio = torch.exp(log_prob - old_log_prob)
    free = ratio * advantage
    bounded = ratio.clamp(1 - clip, 1 + clip) * advantage
    loss = -gamma * torch.minimum(free, bounded)
    return PolicyLoss(loss, ratio.detach(), bounded.detach() < free.detach())


def gaussian_kl(mean: Tensor, base_mean: Tensor, sigma: Tensor, weight: Tensor | None = None) -> Tensor:
    """KL divergence between two Gaussians of equal σ, per latent element: (μ − μ₀)² / 2σ².

    Args:
        mean, base_mean: (N, C, h, w).
        sigma: standard deviation, positive; (1, 1, 1, 1) or (N, 1, 1, 1).
        weight: (N, 1, h, w) averages over weighted elements only; None over all.

    Returns:
        (N,).
    """
    return mean_over((mean - base_mean).square() / (2 * sigma.square()), weight)
