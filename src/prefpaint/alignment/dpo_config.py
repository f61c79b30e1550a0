"""Diffusion-DPO: what a pair of ratings does to the policy."""

from pydantic import Field

from prefpaint.alignment.preset import Preset
from prefpaint.config import Config

PRESET = Preset({"iterations": 200, "watch": {"every": 25}, "trust": "none"}, compares=False, ceiling=True)


class DPOConfig(Config):
    """Preference optimisation without sampling."""

    pairs: int = Field(64, ge=1, description="Rated pairs per update, over all processes; time is proportional.")
    beta: float = Field(
        100.0,
        gt=0,
        description="How tightly the policy is held to the base: a difference of 1 in mean squared error counts β / 2 "
        "in log odds. Low values let it drift far.",
    )
