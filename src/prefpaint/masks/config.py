"""Which prompts are made: how many, with which holes."""

from typing import Literal

from pydantic import Field, model_validator

from prefpaint.config import Config

# The paper's three; three drawn as people make holes; and the user's own.
Pattern = Literal["outpaint_square", "outpaint_strip", "warp", "box", "brush", "object", "own"]
PromptSplit = Literal["train", "validation", "test", "seen", "unseen"]
# Prompts that get candidates and ratings; seen and unseen are only for evaluation.
RATED_SPLITS: tuple[PromptSplit, ...] = ("train", "validation", "test")


PAPER: dict[Pattern, float] = {"outpaint_square": 0.25, "outpaint_strip": 0.25, "warp": 0.5}


class MaskConfig(Config):
    """Geometry of the patterns; the defaults of the first three are the paper's."""

    square_area: tuple[float, float] = Field((0.15, 0.25), description="Kept share of the area.")
    strip_width: tuple[float, float] = Field((0.35, 0.40), description="Kept share of the width.")
    yaw: float = Field(0.3, gt=0, lt=1.5, description="Extreme yaw of the 3×3 view grid, radians.")
    pitch: float = Field(0.15, gt=0, lt=1.5, description="Extreme pitch of the 3×3 view grid, radians.")
    field_of_view: float = Field(
        0.9, gt=0.1, lt=3.0, description="Horizontal angle the pinhole camera sees across one crop, radians."
    )
    depth_checkpoint: str = Field(
        "",
        description="transformers depth-estimation checkpoint, folder or hub id. Empty: measured depth where a "
        "photograph has it, else a smooth pseudo-depth.",
    )
    hole: tuple[float, float] = Field(
        (0.1, 0.4),
        description="Least and largest missing share of `box`, `brush` and `object`, drawn uniformly between them.",
    )
    segmentation_checkpoint: str = Field(
        "",
        description="transformers checkpoint for universal segmentation (Mask2Former, …) with safetensors weights, "
        "folder or hub id, whose segments `object` removes. Empty: regions of even colour.",
    )
    least_hole: float = Field(
        0.04, ge=0, lt=1, description="A warp that opens a smaller share of the image is drawn again."
    )

    @model_validator(mode="after")
    def _check(self) -> "MaskConfig":
        for name in ("square_area", "strip_width", "hole"):
            low, high = getattr(self, name)
            if not 0 < low <= high < 1:
                raise ValueError(f"{name} needs 0 < smallest <= largest < 1")
        return self


class CaptionsConfig(Config):
    """Words for prompts that have none of their own."""

    checkpoint: str = Field(
        "",
        description="transformers image-to-text checkpoint (BLIP, GIT, ViT-GPT2, …) with safetensors weights, folder "
        "or hub id, which describes the whole crop, what is in the hole included. Empty: no captions. On a CPU, BLIP "
        "takes about a second a prompt, once.",
    )
    tokens: int = Field(40, ge=1, le=512, description="Longest caption, in tokens of the checkpoint.")
    batch: int = Field(8, ge=1, description="Crops described at a time: memory and speed only.")


class MasksConfig(Config):
    """The `masks` pipeline: prompts per split and pattern."""

    seed: int = Field(0, ge=0, description="Seed of the crops and holes; another seed makes other prompts.")
    geometry: MaskConfig = MaskConfig()
    captions: CaptionsConfig = CaptionsConfig()
    patterns: dict[Pattern, float] | None = Field(
        None,
        description="Share of each pattern in every split, such as {own: 0.5, brush: 0.5}. Empty: `own` alone where "
        "you bring masks, else a quarter each of the outpaintings and half warps, as in the paper.",
    )
    prompts: dict[PromptSplit, int] = Field(
        {"train": 512, "validation": 96, "test": 128, "seen": 128, "unseen": 128},
        description="Prompts per split. train, validation and test get candidates and ratings; seen (the train "
        "photographs, other crops and masks) and unseen (photographs set aside) are kept only for evaluation.",
    )

    @model_validator(mode="after")
    def _check(self) -> "MasksConfig":
        shares = list((self.patterns or PAPER).values())
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("patterns needs shares of at least 0 that add up to 1")
        missing = {"train", "validation", "test", "seen", "unseen"} - set(self.prompts)
        if missing or min(self.prompts.values()) < 1:
            raise ValueError("prompts needs at least 1 for each of train, validation, test, seen, unseen")
        return self

    def shares(self, own: bool) -> dict[Pattern, float]:
        """Share of each pattern; `own` says whether there are masks of the user's."""
        return self.patterns or ({"own": 1.0} if own else PAPER)
