"""The small embedded base model, its pretraining, and how any base model is sampled."""

from typing import Literal

from pydantic import Field

from prefpaint.config import Config


class SmallModelConfig(Config):
    """Sizes of the embedded model; the classes are Stable Diffusion inpainting's own."""

    vae_channels: tuple[int, ...] = Field(
        (16, 32, 64), description="AutoencoderKL channels per level; three levels give latents of size / 4."
    )
    unet_channels: tuple[int, ...] = Field((32, 64, 96), description="UNet2DConditionModel channels per level.")
    unet_attention: tuple[bool, ...] = Field(
        (False, True, False),
        description="Levels with attention besides the middle block. At full latent size it doubles the cost.",
    )
    attention_heads: int = Field(4, ge=1, description="Heads of each attention layer.")
    text_width: int = Field(32, ge=8, description="Width of the text encoder. It only ever sees the empty prompt.")


class PretrainConfig(Config):
    """Pretraining of the embedded model on the train regions of the photographs."""

    model: SmallModelConfig = SmallModelConfig()
    seed: int = Field(0, ge=0)
    crop_side: tuple[int, int] = Field((64, 220), description="Side of training crops, photograph pixels.")
    recolour: float = Field(
        0.5, ge=0, le=1, description="Share of crops with altered colours: teaches continuing unknown pixels."
    )
    vae_steps: int = Field(4400, ge=1, description="Autoencoder steps; 0.2 s each on two cores.")
    vae_cycles: int = Field(2, ge=1, description="Times the learning rate falls to 0 over the autoencoder's steps.")
    vae_batch: int = Field(16, ge=1)
    vae_lr: float = Field(2e-3, gt=0)
    unet_steps: int = Field(3600, ge=1, description="UNet steps; 0.4 s each on two cores.")
    unet_batch: int = Field(64, ge=1)
    unet_lr: float = Field(1e-3, gt=0)
    pool: int = Field(8192, ge=64, description="Crops encoded at a time: the UNet trains on their latents.")
    pool_passes: int = Field(6, ge=1, description="Times each pool is gone through before the next is encoded.")
    known_weight: float = Field(
        0.2, ge=0, le=1, description="Loss weight of known latents: they are pasted back, so they matter less."
    )
    checkpoint_every: int = Field(250, ge=1, description="Steps between checkpoints; a kill loses at most these.")
    threads: int = Field(2, ge=1, description="CPU threads; the same number gives the same bytes.")


class SamplingConfig(Config):
    """One denoising chain."""

    steps: int = Field(10, ge=2, description="DDIM steps; cost is proportional.")
    eta: float = Field(1.0, ge=0, le=1, description="DDIM noise; alignment needs it above 0.")
    guidance: float = Field(
        1.0, ge=0, description="Classifier-free guidance. With equal text prompts it changes nothing and is skipped."
    )
    text_prompt: str = ""
    negative_text_prompt: str = ""
    batch: int = Field(32, ge=1, description="Images per UNet call: memory and speed only, never the result.")
    processes: int = Field(
        1,
        ge=1,
        description="Processes started on this machine for candidates and evaluation, one per GPU: speed only, never "
        "the result; ignored under an outer torchrun.",
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Of the UNet and VAE; bf16 halves GPU memory.")
