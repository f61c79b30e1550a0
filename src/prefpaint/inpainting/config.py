"""How a base model is sampled."""

from typing import Literal

from pydantic import Field

from prefpaint.config import Config

# Knobs that change memory and speed, never what is painted (but for the last bits of float arithmetic).
SPEED_ONLY = {"batch", "processes", "channels_last", "compile", "vae_slicing"}


class SamplingConfig(Config):
    """The denoising chain that candidates, alignment and evaluation share."""

    speed_only = frozenset(SPEED_ONLY)

    steps: int = Field(10, ge=2, description="Steps of the chain; cost is proportional.")
    eta: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Noise of the steps: 1 as in DDPM, 0 for a deterministic chain. Modes ddpo, published and "
        "dpok of align need it above 0; the others do not.",
    )
    guidance: float = Field(
        1.0,
        ge=0,
        description="Strength of classifier-free guidance. With equal texts it changes nothing and is skipped. "
        "FLUX.1 Fill is told it as a number, which costs nothing: its own pipeline uses 30, its trainers 1.",
    )
    text_prompt: str = Field("", description="Text that the chain is conditioned on; costs nothing.")
    negative_text_prompt: str = Field(
        "",
        description="Text that guidance steers away from. One unlike `text_prompt` doubles the network evaluations.",
    )
    batch: int = Field(32, ge=1, description="Images per call of the network: memory and speed only, never the result.")
    processes: int = Field(
        1,
        ge=1,
        description="Processes started on this machine for candidates and evaluation, one per GPU: speed only, never "
        "the result; ignored under an outer torchrun.",
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Arithmetic of the network and VAE; bf16 halves GPU memory."
    )
    channels_last: bool = Field(
        True, description="Memory layout of convolutions, faster on most machines: speed only, never the result."
    )
    compile: bool = Field(
        False,
        description="Compile the network with torch.compile: minutes at the start of a run for faster steps on a GPU. "
        "Needs a C++ compiler.",
    )
    vae_slicing: bool = Field(
        False, description="Encode and decode one image at a time: less memory, slower, the same pictures."
    )
    vae_tiling: bool = Field(
        False,
        description="Encode and decode large images in tiles: far less memory, slower, slightly other pictures.",
    )
