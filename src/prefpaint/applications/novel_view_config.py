"""Where pictures are seen from."""

from typing import Annotated

from pydantic import Field

from prefpaint.config import Config

Angle = Annotated[float, Field(gt=-1.0, lt=1.0)]


class NovelViewConfig(Config):
    """The `novel_view` pipeline: a camera moves about a picture, and what it uncovers is filled."""

    seed: int = Field(
        0, ge=0, description="Seed of the sampling noise; all frames share it, so that fills flicker less."
    )
    photograph: str | None = Field(
        None,
        description="Name of the photograph that is animated, its centred square with its depth; for your own images, "
        "the path below photographs.folder, such as trip/IMG 1.jpg. null: one whose depth was measured, or else the "
        "first.",
    )
    views: tuple[tuple[Angle, Angle], ...] = Field(
        (),
        description="Yaw and pitch of every frame, radians: [[0.2, 0.0]] is one view from the right. Empty: a closed "
        "path given by the three knobs below.",
    )
    frames: int = Field(16, ge=5, description="Frames of the closed path; time is proportional.")
    yaw: float = Field(0.3, ge=0, lt=1.0, description="Farthest turn to either side, radians.")
    pitch: float = Field(0.1, ge=0, lt=1.0, description="Farthest turn up and down, radians.")
    field_of_view: float = Field(0.9, gt=0.1, lt=3.0, description="Horizontal angle of the camera, radians.")
    crops: int = Field(24, ge=2, description="Windows of the stereo pair in which fills are compared with the truth.")
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of the windows.")
