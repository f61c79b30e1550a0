"""Sizes of the judge of photographs."""

from pydantic import Field

from prefpaint.config import Config


class JudgeModelConfig(Config):
    """Sizes of the judge, and how its logit is read."""

    size: int = Field(64, ge=16, multiple_of=8, description="Side of the pictures it looks at; others are resized.")
    channels: tuple[int, int, int] = Field(
        (32, 64, 96), description="Channels at a half, a quarter and an eighth of the size; cost grows with the square."
    )
    offset: float = Field(0.0, description="Added to the logit: fitted after training, see `PhotographJudge`.")
    scale: float = Field(1.0, gt=0, description="The logit is multiplied by this after the offset was added.")
