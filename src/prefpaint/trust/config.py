"""The error bound on the reward, and γ, the weight that alignment derives from it."""

from typing import Annotated, Literal

from pydantic import Field

from prefpaint.config import Config


class GammaConfig(Config):
    """The parameter `gamma`: how alignment turns the trust width into a weight γ of each sample.

    Paper, equation 8 and Table 4. `bound` judges the width by it, `align` weighs by it where `align.trust` is weight.
    """

    kind: Literal["exponential", "linear", "static"] = Field(
        "exponential",
        description="exponential: γ = exp(−k · width + b), as published; linear: b + 1 − k · width; static: the same "
        "for all samples.",
    )
    k: float = Field(0.5, ge=0, description="How fast an uncertain reward loses weight.")
    b: float = Field(0.5, description="Log weight (exponential) or weight above 1 (linear) at width 0.")
    unit: Literal["median", "raw"] = Field(
        "median",
        description="Unit of the width. median: its training median (then k = b gives γ = 1 to the typical sample, "
        "whatever λ and the number of ratings); raw: the plain number, as published.",
    )
    average: float | None = Field(
        None,
        gt=0,
        description="Scale γ so that its mean over the training candidates is this, to compare kinds at equal step "
        "size; empty: as the formula gives it. For kind static, the weight itself (empty: 1).",
    )
    limits: tuple[float, float] = Field((0.05, 20.0), description="γ is clipped to this range, after scaling.")
    uninformative: Literal["ones", "refuse", "use"] = Field(
        "ones",
        description="When `bound` finds that the width carries no information: ones: trust is left out (γ = 1 for all, "
        "nothing is pulled, no reward is lowered); refuse: stop; use: go by it all the same.",
    )


WidthKind = Literal["elliptical", "published", "ensemble"]


class BoundConfig(Config):
    """The `bound` pipeline."""

    seed: int = Field(0, ge=0, description="Seed of the bootstrap draws.")
    width: WidthKind = Field(
        "elliptical",
        description="elliptical: √(zᵀV⁻¹z), for which the bound is proved; published: ‖zᵀV⁻¹‖₂, as in the published "
        "code; ensemble: how far heads fitted to different draws of the training prompts disagree.",
    )
    ridge: float | None = Field(
        None, gt=0, description="λ in V = ZᵀZ + λI; empty: the one whose ridge estimate has the least validation error."
    )
    noise: Annotated[float, Field(gt=0)] | Literal["raters", "validation"] = Field(
        "raters",
        description="B, the sub-Gaussian scale of a score's noise: a number; raters: from their disagreement about one "
        "candidate; validation: from the ridge estimate's residuals on validation, which include its misfit.",
    )
    psi_norm: float | None = Field(None, gt=0, description="‖ψ*‖; empty: that of the ridge estimate.")
    delta: float = Field(0.05, gt=0, lt=1, description="δ: the bound may fail with this probability.")
    ensemble: int = Field(
        8,
        ge=2,
        description="Ridge estimates from bootstrap draws of the training prompts, if the reward has a single head.",
    )
    least_variation: float = Field(
        0.02, ge=0, description="γ with a smaller coefficient of variation over candidates carries no information."
    )
