"""The error bound on the reward, and γ, what alignment makes of it."""

from typing import Annotated, Literal

from pydantic import Field

from prefpaint.config import Config


class GammaConfig(Config):
    """The parameter `gamma`: what alignment makes of the trust width, a weight γ of each sample.

    Paper, equation 8 and Table 4. `bound` judges the width by it, `align` weighs by it.
    """

    kind: Literal["exponential", "linear", "static", "pessimistic"] = Field(
        "exponential",
        description="γ = exp(−k · width + b) as published; b + 1 − k · width; the same for all samples; or γ = 1 and "
        "the reward lowered to r − β · width.",
    )
    k: float = Field(0.5, ge=0, description="How fast an uncertain reward loses weight.")
    b: float = Field(0.5, description="Log weight (exponential) or weight above 1 (linear) at width 0.")
    unit: Literal["median", "raw"] = Field(
        "median",
        description="Unit of the width: the training median (then k = b gives γ = 1 to the typical sample, "
        "whatever λ and the number of ratings), or the plain number as published.",
    )
    average: float | None = Field(
        None,
        gt=0,
        description="Scale γ so that its mean over the training candidates is this, to compare kinds at equal step "
        "size; empty: as the formula gives it. The weight of kind static (empty: 1).",
    )
    limits: tuple[float, float] = Field((0.05, 20.0), description="γ is cut to this range, after scaling.")
    beta: float = Field(0.5, ge=0, description="Pessimistic: score units taken off per unit of width.")
    uninformative: Literal["ones", "refuse"] = Field(
        "ones", description="When `bound` finds that the width carries no information: γ = 1 for all, or stop."
    )


WidthKind = Literal["elliptical", "published", "ensemble"]


class BoundConfig(Config):
    """The `bound` pipeline."""

    seed: int = Field(0, ge=0, description="Of the bootstrap draws.")
    width: WidthKind = Field(
        "elliptical",
        description="√(zᵀV⁻¹z), for which the bound is proved; ‖zᵀV⁻¹‖₂ as in the published code; or how far heads "
        "fitted to different draws of the training prompts disagree.",
    )
    ridge: float | None = Field(
        None, gt=0, description="λ in V = ZᵀZ + λI; empty: the one whose ridge estimate has the least validation error."
    )
    noise: Annotated[float, Field(gt=0)] | Literal["raters", "validation"] = Field(
        "raters",
        description="B, the sub-Gaussian scale of a score's noise: a number, from the raters' disagreement about one "
        "candidate, or from the residuals of the ridge estimate on validation prompts, which hold its misfit too.",
    )
    psi_norm: float | None = Field(None, gt=0, description="‖ψ*‖; empty: that of the ridge estimate.")
    delta: float = Field(0.05, gt=0, lt=1, description="δ: the bound may fail with this probability.")
    ensemble: int = Field(
        8,
        ge=2,
        description="Ridge estimates from bootstrap draws of the training prompts, where the reward has one head.",
    )
    least_variation: float = Field(
        0.02, ge=0, description="γ with a smaller coefficient of variation over candidates carries no information."
    )
