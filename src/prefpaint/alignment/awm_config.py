"""Advantage-weighted matching: what a sample's advantage does to the policy."""

from pydantic import Field

from prefpaint.alignment.matching_config import VALUES
from prefpaint.alignment.preset import Preset
from prefpaint.config import Config

# Less of both pulls than published: those are for hundreds of iterations.
PRESET = Preset({**VALUES, "awm": {"old_decay": 0.5, "old_pull": 0.1, "pull": 0.0}}, ceiling=True)


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
