"""How far the `overoptimise` pipeline drives a small reward, and what is to hold it back."""

from pydantic import Field

from prefpaint.experiments.runs_config import VariantsConfig
from prefpaint.reward.config import RewardConfig
from prefpaint.trust.config import BoundConfig


class OveroptimiseConfig(VariantsConfig):
    """The `overoptimise` pipeline: long alignments to a reward of few ratings, with every use of trust.

    The reward that is raised and the trust in it are fitted here; those of the project are not used.
    """

    prompts: int = Field(
        96, ge=2, description="Rated train prompts that the reward is fitted to, evenly spaced in their list."
    )
    reward: RewardConfig = Field(
        RewardConfig(),
        description="The reward. Of far fewer ratings than 96 prompts' it hardly varies, and of far more it is hard to "
        "over-optimise.",
    )
    bound: BoundConfig = Field(BoundConfig(), description="Trust in it.")
