"""How a scene is made of a photograph."""

from pathlib import Path

from pydantic import Field, model_validator

from prefpaint.applications.novel_view_config import Angle
from prefpaint.config import Config


class ReconstructConfig(Config):
    """The `reconstruct` pipeline: a three-dimensional scene of one photograph with depth."""

    seed: int = Field(0, ge=0, description="Seed of the sampling noise.")
    photograph: str | None = Field(
        None,
        description="Name of a photograph of the run, as for novel_view.photograph. null: one whose depth was "
        "measured, or else the first.",
    )
    picture: Path | None = Field(None, description="A picture of your own instead, any file that can be decoded.")
    folder: Path | None = Field(
        None,
        description="Folder of your own pictures instead, searched recursively; each becomes a scene of its own in "
        "data/07_model_output/reconstruct_scenes, and time is proportional to their number. The report shows and "
        "measures the first.",
    )
    depth: Path | None = Field(
        None,
        description="Depth of your own picture: a 16-bit PNG or TIFF, or a .npy file, of the picture's size, larger is "
        "farther, 0 where unknown. With folder: a folder of such files, named as the pictures are; pictures without "
        "one are skipped. null: masks.geometry.depth_checkpoint or, without one, a guess.",
    )
    longest_side: int = Field(
        256, ge=32, description="The photograph is reduced to this first; time and files grow with its square."
    )
    yaw: float = Field(0.3, ge=0, lt=1.0, description="Turn of the outer views to either side, radians.")
    pitch: float = Field(0.15, ge=0, lt=1.0, description="Turn of the outer views up and down, radians.")
    views: tuple[tuple[Angle, Angle], ...] = Field(
        (),
        description="Yaw and pitch, radians, of the views whose holes are painted, in this order. Empty: the 3 x 3 "
        "grid of the two angles above, from the middle outwards.",
    )
    frames: int = Field(
        24, ge=5, description="Frames of the animation, a closed path inside the views; time is proportional."
    )
    field_of_view: float = Field(0.9, gt=0.1, lt=3.0, description="Horizontal angle of the camera, radians.")
    coarsest: float = Field(
        2.0,
        ge=1.0,
        le=8.0,
        description="How many times coarser than the photograph a hole may be painted. 1 paints wide holes in pieces "
        "at full detail; larger values see more of the scene at once, are faster and less sharp.",
    )
    samples: int = Field(
        1,
        ge=1,
        description="How often each hole is painted; the fill that the reward prefers is kept. Time is proportional.",
    )
    resamples: int = Field(2000, ge=100, description="Bootstrap resamples of windows and pairs of views.")

    @model_validator(mode="after")
    def _check(self) -> "ReconstructConfig":
        if self.picture is not None and self.folder is not None:
            raise ValueError("give either picture or folder, and set the other to null")
        if self.depth is not None and self.picture is None and self.folder is None:
            raise ValueError("depth belongs to picture or folder; give it with one of them")
        return self
