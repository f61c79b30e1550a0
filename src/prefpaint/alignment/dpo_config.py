"""Diffusion-DPO: what a pair of ratings does to the policy."""

from pydantic import Field

from prefpaint.config import Config


class DPOConfig(Config):
    """Preference optimisation without sampling."""

    pairs: int = Field(64, ge=1, description="Rated pairs per update, of all processes together; time is proportional.")
    beta: float = Field(
        100.0,
        gt=0,
        description="How hard the policy is held to the base: a difference of 1 in mean squared error stands for β / 2 "
        "in log odds. Low values let it go far.",
    )
    trust_weighted: bool = Field(
        False, description="Weigh each pair by the geometric mean of its two pictures' γ instead of 1."
    )
