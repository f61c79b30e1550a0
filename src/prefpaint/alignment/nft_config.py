"""DiffusionNFT: what a comparison of a prompt's samples does to the policy."""

from pydantic import Field

from prefpaint.alignment.matching_config import VALUES
from prefpaint.alignment.preset import Preset
from prefpaint.config import Config

# So few iterations leave neither the old policy nor the base far behind: both pulls cost a pass of the network each and
# change nothing.
PRESET = Preset({**VALUES, "nft": {"old_decay_rate": 0.0, "pull": 0.0}}, ceiling=True)


class NFTConfig(Config):
    """Negative-aware fine-tuning on the forward process."""

    beta: float = Field(
        1.0,
        gt=0,
        description="How far the implied better and worse policies lie from the old one. 1, as published for one "
        "reward; 0.1 for several.",
    )
    old_decay_rate: float = Field(
        0.001,
        ge=0,
        description="The old policy, which samples, follows the trained one with a decay of this much per iteration "
        "done. 0 samples with the trained policy itself.",
    )
    old_decay_most: float = Field(0.5, ge=0, lt=1, description="The decay of the old policy rises no further.")
    pull: float = Field(
        1e-4,
        ge=0,
        description="Weight of the squared difference to the base's prediction; above 0 costs one more pass of the "
        "network per trained step.",
    )
