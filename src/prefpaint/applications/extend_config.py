"""How far pictures are widened."""

from pathlib import Path

from pydantic import Field, model_validator

from prefpaint.config import Config


class ExtendConfig(Config):
    """The `extend` pipeline: a larger field of view by repeated outpainting."""

    seed: int = Field(0, ge=0, description="Of the sampling noise.")
    folder: Path | None = Field(
        None,
        description="Your own pictures, of any size, searched recursively; null for pictures of photographs that "
        "nothing was aligned on.",
    )
    longest_side: int = Field(2048, ge=64, description="Larger pictures of your own are reduced to this first.")
    width: int | None = Field(None, ge=1, description="Wanted width in pixels; or give aspect instead.")
    aspect: float | None = Field(4.0, gt=0, description="Wanted width / height; or give width instead.")
    overlap: float = Field(
        0.5,
        ge=0.125,
        le=0.875,
        description="Share of each window of the model that shows what is there already. More follows the picture "
        "better and takes more windows.",
    )
    images: int = Field(8, ge=1, description="How many pictures are widened where no folder is given.")

    @model_validator(mode="after")
    def _check(self) -> "ExtendConfig":
        if (self.width is None) == (self.aspect is None):
            raise ValueError("give either width or aspect, and set the other to null")
        return self
