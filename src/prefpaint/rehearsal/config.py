"""What is rehearsed, and on what it would really run."""

from typing import Literal

from pydantic import Field

from prefpaint.config import Config


class RehearseConfig(Config):
    """The `rehearse` pipeline: every stage of `conf/paper` at true size with few steps (`conf/rehearsal`)."""

    base: Literal["sd15", "sdxl", "flux_fill"] = Field(
        "sd15",
        description="Architecture of the base model: Stable Diffusion 1.5, Stable Diffusion XL, or FLUX.1 Fill with "
        "fewer blocks. On a CPU core sd15 takes about an hour and 10 GB of memory.",
    )
    full: bool = Field(
        False,
        description="At the end, align once more with all weights tuned. Of sd15 it takes 21 GB of memory, of the "
        "others more than most machines have.",
    )
    peak: float = Field(
        989.0, gt=0, description="For the estimate: peak of one GPU in TFLOP/s, dense bfloat16. 989 is an H100's (SXM)."
    )
    share: float = Field(
        0.3, gt=0, le=1, description="For the estimate: share of that peak which a run reaches. Time is inverse to it."
    )
    gpus: int = Field(8, ge=1, description="For the estimate: GPUs of one machine, one process each.")
