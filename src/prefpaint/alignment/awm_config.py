"""Advantage-weighted matching: what a sample's advantage does to the policy."""

from typing import Any

from pydantic import Field

from prefpaint.config import Config

PRESET: dict[str, Any] = {"trained_steps": 3, "iterations": 8}


class AWMConfig(Config):
    """Advantage-weighted matching with a pull to a moving average."""

    clip: float = Field(
        2.0, gt=1, description="Ratios of the implied likelihoods count up to this; acts where inner_updates exceeds 1."
    )
    old_decay: float = Field(
        0.9, ge=0, lt=1, description="Decay per iteration of the moving average that the policy is pulled to."
    )
    old_pull: float = Field(
        1.0,
        ge=0,
        description="Weight of the squared difference to the moving average's prediction. Without it training is "
        "reported to collapse.",
    )
    pull: float = Field(
        1e-3,
        ge=0,
        description="Weight of the squared difference to the base's prediction; above 0 costs one more pass of the "
        "network per trained step.",
    )
