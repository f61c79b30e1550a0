"""ReFL and DRaFT: which steps the reward's gradient flows through."""

from typing import Literal

from pydantic import Field

from prefpaint.alignment.preset import Preset
from prefpaint.config import Config

# Chosen on validation prompts. The gradient has little noise, and soon leads to where the reward is wrong.
PRESET = Preset({"candidates": 1, "iterations": 6, "average": 0.8, "watch": {"every": 1}}, compares=False)


class ReFLConfig(Config):
    """Direct gradient of the learned reward."""

    path: Literal["jump", "chain"] = Field(
        "chain",
        description="chain: the gradient flows back through all of the last `last_steps` steps, as in DRaFT-K; jump: "
        "sampling stops at a random one of them, and the gradient flows through its estimate of the clean picture, as "
        "in ReFL.",
    )
    last_steps: int = Field(
        1,
        ge=1,
        description="How many last steps that is. Memory and time grow with it for path chain; jump always has one.",
    )
    margin: float | None = Field(
        None,
        description="Samples whose reward exceeds this are not pushed further, as published for ReFL; in the learned "
        "reward's units. Empty: all are pushed.",
    )
    pull: float = Field(
        0.1,
        ge=0,
        description="Weight of the squared difference to the base's prediction, for nothing else holds this mode back; "
        "above 0 costs one more pass of the network per step with a gradient.",
    )
