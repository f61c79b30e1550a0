"""DiffusionNFT: a prompt's better samples pull an implied positive policy, its worse ones an implied negative one.

Zheng et al. 2025, "DiffusionNFT: Online Diffusion Reinforcement with Forward Process" (arXiv 2509.16117, ICLR 2026).
"""

from torch import Tensor

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.matching import Items, forward_mode
from prefpaint.inpainting.chain import mean_over

# As published: keeps the self-normalised error finite where a prediction is exact.
LEAST_ERROR = 1e-5


def preference(advantage: Tensor, limit: float) -> Tensor:
    """r = clip(½ + A / 2 limit, 0, 1): how much a sample counts as a good one.

    Args:
        advantage: (N,), γ included.
        limit: that advantages are cut to.
    """
    return (0.5 + advantage / (2 * limit)).clamp(0, 1)


def nft_loss(
    now: Tensor, old: Tensor, target: Tensor, spread: Tensor, good: Tensor, beta: float, weight: Tensor | None
) -> Tensor:
    """σ / β · [r ‖e⁺‖² / |e⁺| + (1 − r) ‖e⁻‖² / |e⁻|], where e± are the errors of v± = (1 ∓ β) v_old ± β v.

    The paper has the self-normalised error of x̂₀ instead of the prediction's: with x̂₀ = x_t − t v that is t times
    this one, and t is σ. On a variance-preserving schedule an error of v gives σ times that of x̂₀, too; one of ε gives
    σ / α, which has no bound at pure noise. σ is therefore used for both.

    Args:
        now: the trained policy's predictions, (N, C, h, w); gradients flow through it.
        old: the old policy's.
        target: what should be predicted.
        spread: (N,), σ_t.
        good: (N,), r.
        beta: distance of the implied policies from the old one.
        weight: of elements, see `mean_over`.

    Returns:
        (N,).
    """

    def normalised(prediction: Tensor) -> Tensor:
        error = prediction - target
        size = mean_over(error.abs(), weight).detach().clamp(min=LEAST_ERROR)
        return mean_over(error.square(), weight) / size

    positive, negative = (1 - beta) * old + beta * now, (1 + beta) * old - beta * now
    return spread / beta * (good * normalised(positive) + (1 - good) * normalised(negative))


class _NFT:
    """The objective of mode nft."""

    watched, samples_old, remembers = "preference", True, False

    def __init__(self, config: AlignConfig) -> None:
        self.config, self.pull = config, config.nft.pull

    def decay(self, iteration: int) -> float:
        return min(self.config.nft.old_decay_rate * iteration, self.config.nft.old_decay_most)

    def loss(self, items: Items, now: Tensor, old: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        limit = self.config.advantage_clip
        good = preference(items.advantage, limit)
        noised = items.noised
        loss = nft_loss(now, old, noised.target, noised.spread, good, self.config.nft.beta, items.weight)
        # The published factor: what the advantages were divided by.
        return limit * loss, good


NFT = forward_mode(_NFT)
