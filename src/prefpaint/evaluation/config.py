"""How base, aligned model and others are compared."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from prefpaint.config import Config, without_empty
from prefpaint.inpainting.classical import Classical
from prefpaint.judges.config import Checkpoint


class MethodConfig(Config):
    """A further method to compare."""

    kind: Classical | Literal["checkpoint"] = Field(
        description="telea, navier_stokes, biharmonic: fills without a model, milliseconds each at 64 px; at 512 px "
        "biharmonic takes some seconds and a gigabyte each. checkpoint: another inpainting model, as slow as the base."
    )
    checkpoint: Checkpoint = Field(
        "",
        description="Folder or hub id of a diffusers inpainting checkpoint with a UNet (Stable Diffusion, Stable "
        "Diffusion XL). Stable Diffusion's is sampled like the base, any other by diffusers' own call.",
    )

    @model_validator(mode="after")
    def _check(self) -> "MethodConfig":
        if (self.kind == "checkpoint") != bool(self.checkpoint):
            raise ValueError("set checkpoint if, and only if, kind is checkpoint")
        return self


class LearnedScoresConfig(Config):
    """Other people's models that score the fills (the paper's Table 2); empty ones are listed as not run.

    Each is a folder or hub id of a transformers checkpoint unless stated otherwise, and costs one pass over all
    samples.
    """

    text: str = Field(
        "a photograph",
        description="Text that CLIP, BLIP and ImageReward compare pictures with if the prompt has no words of its own.",
    )
    clip: Checkpoint = Field("", description="CLIP model with its processor.")
    blip: Checkpoint = Field("", description="BLIP image-text retrieval model with its processor.")
    aesthetic: Checkpoint = Field("", description='Image classifier with one output, or with a label "aesthetic".')
    classifier: Checkpoint = Field(
        "", description="Image classifier: do fills show what the original shows, and how varied are they?"
    )
    imagereward: Checkpoint = Field(
        "",
        description="Folder with ImageReward.pt, med_config.json and BERT's vocab.txt as published, or the hub id "
        "THUDM/ImageReward.",
    )


class EvaluateConfig(Config):
    """The `evaluate` pipeline: samples of all methods on prompts kept only for this."""

    seed: int = Field(0, ge=0, description="Seed of the sampling noise and of the bootstrap.")
    splits: tuple[Literal["seen", "unseen"], ...] = Field(
        ("seen", "unseen"),
        min_length=1,
        description="seen: other crops and holes of photographs that were rated and aligned on; unseen: photographs "
        "that nothing after pretraining has used.",
    )
    best_of: tuple[int, ...] = Field(
        (1, 3),
        min_length=1,
        description="S of the win rates: the best of S samples against the base's single one. The largest decides "
        "how many are drawn: four times that many per prompt (two models, two noise sets), time in proportion.",
    )
    methods: Annotated[dict[str, MethodConfig], BeforeValidator(without_empty)] = Field(
        {"telea": MethodConfig(kind="telea"), "biharmonic": MethodConfig(kind="biharmonic")},
        description="Methods to compare with base and aligned model, by name; same prompts, masks and seeds. null in "
        "conf/local removes one.",
    )
    scores: LearnedScoresConfig = LearnedScoresConfig()
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of the prompts; milliseconds per 1,000.")
    gallery: int = Field(6, ge=1, description="Prompts shown per kind of choice and split.")

    @model_validator(mode="after")
    def _check(self) -> "EvaluateConfig":
        if min(self.best_of) < 1 or len(set(self.best_of)) != len(self.best_of):
            raise ValueError("best_of needs different whole numbers of at least 1")
        if 1 not in self.best_of:
            raise ValueError("best_of must include 1: everything else is read against single samples")
        if len(set(self.splits)) != len(self.splits):
            raise ValueError("splits names a split twice")
        for name in self.methods:
            # Names become parts of file names and of metrics.
            if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in ("base", "aligned", "original"):
                raise ValueError(
                    f"methods: {name!r} is not a valid name; use small letters, digits and _, not base, aligned or "
                    "original"
                )
            if re.search(r"_(low|high|s\d+)$|_against_", name):
                raise ValueError(f"methods: {name!r} reads like a part of a metric's name; choose another")
        return self

    @property
    def samples(self) -> int:
        """Samples per prompt, model and noise set."""
        return max(self.best_of)
