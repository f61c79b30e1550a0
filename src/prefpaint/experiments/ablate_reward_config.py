"""Which reward trainings the `ablate_reward` pipeline compares."""

from typing import Annotated, Literal

from pydantic import Field

from prefpaint.config import Config
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig, MLPHeadConfig

Share = Annotated[float, Field(ge=0, le=1)]


class AblateRewardConfig(Config):
    """The `ablate_reward` pipeline: objective × frozen share of the backbone, over several seeds.

    Levels, within-prompt share and weight decay are those of `reward`; its configured model is one more row.
    """

    objectives: tuple[Literal["regression", "classification", "pairwise"], ...] = Field(
        ("regression", "classification", "pairwise"),
        min_length=1,
        description="What is trained for; time is proportional.",
    )
    frozen: tuple[Share, ...] = Field(
        (1.0, 0.7, 0.0),
        min_length=1,
        description="Frozen shares of the backbone, in place of `backbone.frozen`. With 1 the features are computed "
        "once and a training takes seconds; otherwise every epoch runs the whole network, and 0 takes about twice as "
        "long as 0.7.",
    )
    seeds: tuple[int, ...] = Field(
        (0, 1, 2), min_length=2, description="Seeds of each combination; time is proportional."
    )
    backbone: Annotated[ContrastBackboneConfig | ClipBackboneConfig, Field(discriminator="kind")] = Field(
        ContrastBackboneConfig(input_size=64),
        description="Of every combination. 64 px, the size of the demo's images, takes 40 % of the time of 96 px.",
    )
    head: MLPHeadConfig = Field(
        MLPHeadConfig(), description="Head of every combination; only an mlp head has objectives."
    )
    prompts: int | None = Field(
        None,
        ge=2,
        description="Training prompts used, evenly spaced in the list; empty: all. Time is nearly proportional.",
    )
    epochs: int = Field(
        3, ge=1, description="Epochs of every combination; the best on validation is kept. Time is proportional."
    )
    batch: int = Field(8, ge=1, description="Prompts per step; each brings all its candidates.")
    lr: float = Field(3e-4, gt=0, description="Learning rate of head and backbone alike.")
    resamples: int = Field(1000, ge=100, description="Bootstrap draws of seeds and test prompts; a second per row.")
