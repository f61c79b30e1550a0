"""How far pictures are widened."""

from pathlib import Path

from pydantic import Field, model_validator

from prefpaint.config import Config


class ExtendConfig(Config):
    """The `extend` pipeline: a larger field of view by repeated outpainting."""

    seed: int = Field(0, ge=0, description="Seed of the sampling noise.")
    folder: Path | None = Field(
        None,
        description="Folder of your own pictures, of any size, searched recursively; null: pictures of photographs "
        "that nothing was aligned on.",
    )
    longest_side: int = Field(2048, ge=64, description="Your own pictures, if larger, are reduced to this first.")
    width: int | None = Field(None, ge=1, description="Target width in pixels; or set aspect instead.")
    aspect: float | None = Field(4.0, gt=0, description="Target width / height; or set width instead.")
    overlap: float = Field(
        0.5,
        ge=0.125,
        le=0.875,
        description="Share of each of the model's windows that shows what is already there. More follows the picture "
        "better and takes more windows.",
    )
    images: int = Field(8, ge=1, description="How many pictures are widened if no folder is given.")

    @model_validator(mode="after")
    def _check(self) -> "ExtendConfig":
        if (self.width is None) == (self.aspect is None):
            raise ValueError("give either width or aspect, and set the other to null")
        return self
