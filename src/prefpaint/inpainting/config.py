"""How a base model is sampled."""

from typing import Literal

from pydantic import Field

from prefpaint.config import Config


class SamplingConfig(Config):
    """The denoising chain that candidates, alignment and evaluation share."""

    steps: int = Field(10, ge=2, description="DDIM steps; cost is proportional.")
    eta: float = Field(
        1.0, ge=0, le=1, description="Noise of the DDIM steps, 1 as in DDPM; alignment needs it above 0."
    )
    guidance: float = Field(
        1.0,
        ge=0,
        description="Strength of classifier-free guidance. With equal texts it changes nothing and is skipped.",
    )
    text_prompt: str = Field("", description="Text that the chain is conditioned on; costs nothing.")
    negative_text_prompt: str = Field(
        "", description="Text that guidance steers away from. One unlike `text_prompt` doubles the UNet evaluations."
    )
    batch: int = Field(32, ge=1, description="Images per UNet call: memory and speed only, never the result.")
    processes: int = Field(
        1,
        ge=1,
        description="Processes started on this machine for candidates and evaluation, one per GPU: speed only, never "
        "the result; ignored under an outer torchrun.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Arithmetic of the UNet and VAE; bf16 halves GPU memory."
    )
