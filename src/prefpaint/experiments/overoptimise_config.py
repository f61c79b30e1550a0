"""How far the `overoptimise` pipeline drives a small reward, and what is to hold it back."""

from pydantic import Field

from prefpaint.experiments.runs_config import VariantsConfig
from prefpaint.reward.config import MLPHeadConfig, RewardConfig
from prefpaint.trust.config import BoundConfig


class OveroptimiseConfig(VariantsConfig):
    """The `overoptimise` pipeline: long alignments to a reward of few ratings, with every use of trust.

    The reward that is raised and the trust in it are fitted here; those of the project are not used.
    """

    prompts: int = Field(
        24, ge=2, description="Rated train prompts that the reward is fitted to, evenly spaced in their list."
    )
    reward: RewardConfig = Field(
        RewardConfig(head=MLPHeadConfig()),
        description="The reward. A kernel head, the project's, is too smooth to be over-optimised in reasonable time.",
    )
    bound: BoundConfig = Field(
        BoundConfig(ridge=10.0),
        description="Trust in it. λ is fixed, because so few ratings do not tell it.",
    )
