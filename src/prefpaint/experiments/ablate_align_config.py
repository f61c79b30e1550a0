"""Which alignments the `ablate_align` pipeline compares."""

from typing import Literal

from pydantic import Field

from prefpaint.experiments.runs_config import VariantsConfig


class AblateAlignConfig(VariantsConfig):
    """The `ablate_align` pipeline: ways of aligning side by side; with variants of γ, the paper's Table 4."""

    splits: tuple[Literal["seen", "unseen"], ...] = Field(
        ("seen", "unseen"), min_length=1, description="Which evaluation prompts judge a run; time is proportional."
    )
    prompts: int = Field(128, ge=2, description="Evaluation prompts of each split, two samples each.")
    resamples: int = Field(2000, ge=100, description="Bootstrap draws of seeds and prompts.")
