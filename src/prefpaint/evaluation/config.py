"""How base and aligned model are compared."""

from typing import Literal

from pydantic import Field, model_validator

from prefpaint.config import Config


class EvaluateConfig(Config):
    """The `evaluate` pipeline: samples of both models on prompts kept for this alone."""

    seed: int = Field(0, ge=0, description="Of sampling noise and of the bootstrap.")
    splits: tuple[Literal["seen", "unseen"], ...] = Field(
        ("seen", "unseen"),
        min_length=1,
        description="seen: new crops and masks of regions the base was pretrained on; unseen: pixel regions "
        "nothing was trained on.",
    )
    best_of: tuple[int, ...] = Field(
        (1, 3),
        min_length=1,
        description="S of the win rates: the best of S samples against the base's single one. The largest decides "
        "how many are drawn: four times that many per prompt (two models, two noise sets), time in proportion.",
    )
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of the prompts; milliseconds each 1,000.")
    gallery: int = Field(6, ge=1, description="Prompts shown per kind of choice and split.")

    @model_validator(mode="after")
    def _check(self) -> "EvaluateConfig":
        if min(self.best_of) < 1 or len(set(self.best_of)) != len(self.best_of):
            raise ValueError("best_of needs different whole numbers of at least 1")
        if 1 not in self.best_of:
            raise ValueError("best_of needs 1: everything else is read against a single sample each")
        if len(set(self.splits)) != len(self.splits):
            raise ValueError("splits names a split twice")
        return self

    @property
    def samples(self) -> int:
        """Samples per prompt, model and noise set."""
        return max(self.best_of)
