"""How far pictures are extended."""

from pathlib import Path

from pydantic import Field, model_validator

from prefpaint.config import Config


class ExtendConfig(Config):
    """The `extend` pipeline: a larger field of view, painted from coarse to fine."""

    seed: int = Field(0, ge=0, description="Seed of the sampling noise.")
    folder: Path | None = Field(
        None,
        description="Folder of your own pictures, of any size, searched recursively; null: pictures of photographs "
        "that nothing was aligned on.",
    )
    longest_side: int = Field(2048, ge=64, description="Your own pictures, if larger, are reduced to this first.")
    width: int | None = Field(None, ge=1, description="Target width in pixels; or set aspect instead.")
    aspect: float | None = Field(
        4.0, gt=0, description="Target width / height; or set width instead. Both null: only the height grows."
    )
    height: int | None = Field(None, ge=1, description="Target height in pixels; null: the picture's own.")
    overlap: float = Field(
        0.5,
        ge=0.125,
        le=0.875,
        description="Share of each of the model's windows that its neighbour covers too. More makes neighbours agree "
        "better and takes more windows.",
    )
    refinements: int = Field(
        2,
        ge=0,
        description="How often a picture larger than the model's own is painted over at twice the scale, at most up to "
        "its own size. Each shows finer detail and takes four times as long as the one before.",
    )
    samples: int = Field(
        1,
        ge=1,
        description="How often each first, coarse step is painted; the one that the reward prefers is kept. Their time "
        "is proportional.",
    )
    images: int = Field(8, ge=1, description="How many pictures are extended if no folder is given.")

    @model_validator(mode="after")
    def _check(self) -> "ExtendConfig":
        if self.width is not None and self.aspect is not None:
            raise ValueError("give either width or aspect, and set the other to null")
        if self.width is None and self.aspect is None and self.height is None:
            raise ValueError("give width, aspect or height")
        return self
