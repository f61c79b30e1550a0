"""What keeps a policy from going where its reward is not to be trusted; pure functions.

The gate: "GARDO: Reinforcing Diffusion Models without Reward Hacking" (arXiv 2512.24138) pulls a policy to a reference
only where a sample's reward is among the least certain, and replaces the reference by the policy once it has gone far.
The paper's text and its public code differ in sign. The text is followed: the least certain samples are pulled.
The paper measures uncertainty by the disagreement of rewards; here it is the trust width.

The ceiling: NormGuard (arXiv 2606.27771) finds that NFT, AWM and DPO inflate predictions by 5 to 15 %.
"""

import numpy as np
import torch
from torch import Tensor

from prefpaint.inpainting.chain import mean_over


def least_trusted(widths: np.ndarray, share: float) -> np.ndarray:
    """The samples with the greatest widths; only their ranks count.

    Args:
        widths: (N,); NaN for a sample that was dropped, which counts as the most trusted.
        share: of the samples, in (0, 1]; rounded to whole samples, but at least one.

    Returns:
        (N,) bool. Of equal widths the first come first.
    """
    chosen = np.zeros(len(widths), bool)
    chosen[np.argsort(-widths, kind="stable")[: max(1, round(share * len(widths)))]] = True
    return chosen


def pessimistic(reward: np.ndarray, widths: np.ndarray, beta: float) -> np.ndarray:
    """r − β · width: doubt as a price.

    For a reward that is normal with mean μ and standard deviation s, what an agent averse to risk raises is
    −β log E exp(−r / β) = μ − s² / 2β, which is quadratic in s. Ours is linear in the width, as a lower confidence
    bound is: the width is s only up to an unknown factor, and its square would let a few samples decide.

    Args:
        reward: (N,).
        widths: (N,).
        beta: score units per unit of width.
    """
    return reward - beta * widths


def mean_pull(divergence: np.ndarray) -> float:
    """Mean divergence of the gated items; 0 where there are none.

    Args:
        divergence: (n,), NaN where an item is not gated.
    """
    gated = divergence[~np.isnan(divergence)]
    return float(gated.mean()) if len(gated) else 0.0


def norm_excess(predicted: Tensor, reference: Tensor, weight: Tensor | None) -> Tensor:
    """relu(‖v‖ − ‖v_ref‖): by how much predictions are larger than the base's.

    ‖v‖ is the root mean square of a prediction over its channels and the hole's latents, so that the size of the hole
    does not matter. The penalty is the square of what this gives: up to the ceiling it and its gradient are 0.

    Args:
        predicted: v, (N, C, h, w); gradients flow through it.
        reference: the base's predictions at the same noised latents, (N, C, h, w).
        weight: of elements, see `mean_over`.

    Returns:
        (N,).
    """

    def size(values: Tensor) -> Tensor:
        # The square root has no gradient at 0.
        return mean_over(values.square(), weight).clamp(min=1e-12).sqrt()

    return torch.relu(size(predicted) - size(reference.detach()))
