"""Sizes of the embedded base model and of the judge, and how they are trained."""

from pathlib import Path

from pydantic import Field, model_validator

from prefpaint.config import Config
from prefpaint.fills.config import JudgeModelConfig


class SmallModelConfig(Config):
    """Sizes of the embedded model; the classes are Stable Diffusion inpainting's own."""

    vae_channels: tuple[int, ...] = Field(
        (16, 32, 64), description="AutoencoderKL channels per level; three levels give latents of size / 4."
    )
    latent_channels: int = Field(
        8,
        ge=1,
        description="Channels of the latents. More restore finer detail and give the UNet more to predict; the "
        "UNet takes twice as many plus one for the mask.",
    )
    unet_channels: tuple[int, ...] = Field((64, 96, 128), description="UNet2DConditionModel channels per level.")
    unet_attention: tuple[bool, ...] = Field(
        (False, True, False),
        description="Levels with attention, in addition to the middle block. At full latent size it doubles the cost.",
    )
    attention_heads: int = Field(4, ge=1, description="Heads of each attention layer.")
    text_width: int = Field(
        32, ge=8, description="Width of the text encoder, which is not trained. It tells the UNet two texts apart."
    )


class FitConfig(Config):
    """How one network is trained: Muon on matrices and convolutions, AdamW on the rest."""

    steps: int = Field(
        ge=1, description="Optimiser steps. A higher number extends a run that was stopped or has finished."
    )
    batch: int = Field(ge=1, description="Crops per step; time in proportion.")
    muon_lr: float = Field(gt=0, description="Learning rate of matrices and convolutions.")
    adam_lr: float = Field(1e-3, gt=0, description="Learning rate of all other weights.")
    warm_up: int = Field(200, ge=1, description="Steps in which the learning rates rise.")
    cool_down: float = Field(
        0.4, ge=0, le=1, description="Last share of the steps, in which the learning rates fall to 0."
    )


class CodecConfig(FitConfig):
    """Training of the autoencoder."""

    steps: int = Field(
        2600, ge=0, description="Optimiser steps; 0.3 s each on two cores. 0 keeps the autoencoder of `start_from`."
    )
    batch: int = Field(8, ge=1, description="Crops per step; time in proportion.")
    muon_lr: float = Field(5e-3, gt=0, description="Learning rate of matrices and convolutions.")
    perceptual: float = Field(
        0.1, ge=0, description="Weight of the distance between features of an ImageNet network: sharper, fewer dB."
    )
    energy: float = Field(
        0.01, ge=0, description="Weight of the difference in local texture energy: keeps fine grain, costs some dB."
    )


class UNetConfig(FitConfig):
    """Training of the UNet."""

    steps: int = Field(1300, ge=1, description="Optimiser steps; 1.1 s each on two cores without AVX-512, else 0.6 s.")
    batch: int = Field(64, ge=1, description="Crops per step; time in proportion.")
    muon_lr: float = Field(1e-2, gt=0, description="Learning rate of matrices and convolutions.")
    unknown: float = Field(
        0.12,
        ge=0,
        lt=1,
        description='Share of crops shown with the text "unknown" and another crop\'s known part: the UNet learns to '
        "ignore it, so that guidance against this text strengthens the condition.",
    )
    noisiest: float = Field(
        0.3, ge=0, le=1, description="Share of crops at the noisiest fifth of the timesteps, where colours are decided."
    )
    known_weight: float = Field(
        0.2, ge=0, le=1, description="Loss weight of known latents: they are pasted back, so they matter less."
    )
    pool: int = Field(4096, ge=64, description="Crops encoded at a time: the UNet trains on their latents.")
    pool_passes: int = Field(6, ge=1, description="Passes over each pool before the next is encoded.")


class PretrainConfig(Config):
    """Pretraining of the embedded model on a folder of photographs."""

    model: SmallModelConfig = SmallModelConfig()
    photographs: Path = Field(
        Path("data/01_raw/pretraining"),
        description="Folder with train and validation, as `kedro photographs download` writes it.",
    )
    start_from: Path | None = Field(
        None,
        description="Folder of an earlier checkpoint of the same sizes, such as data/06_models/base: training starts "
        "from its weights instead of random ones, for as many steps as given. Empty: from scratch.",
    )
    seed: int = Field(0, ge=0, description="Seed of the initial weights, the crops, the holes and the noise.")
    size: int = Field(64, ge=16, multiple_of=8, description="Side of the crops in pixels; cost grows with its square.")
    crop_share: tuple[float, float] = Field(
        (0.3, 1.0), description="Smallest and largest side of a crop, as shares of the photograph's shorter side."
    )
    codec: CodecConfig = CodecConfig()
    unet: UNetConfig = UNetConfig()
    checkpoint_every: int = Field(250, ge=1, description="Steps between checkpoints; a kill loses at most these.")
    threads: int = Field(2, ge=1, description="CPU threads; the same number gives the same bytes.")

    @model_validator(mode="after")
    def _check(self) -> "PretrainConfig":
        if self.codec.steps == 0 and self.start_from is None:
            raise ValueError("codec.steps of 0 needs start_from: there is no autoencoder to keep")
        return self


class JudgeConfig(FitConfig):
    """Training of the judge that the simulated raters share, on the same folder of photographs."""

    model: JudgeModelConfig = JudgeModelConfig()
    seed: int = Field(0, ge=0, description="Seed of the initial weights, the crops, the holes and the spoiled fills.")
    crops: int = Field(
        1600, ge=1, description="Crops that are spoiled in every way and painted by the base; 0.15 s and 200 kB each."
    )
    small_holes: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Share of crops that are drawn only among those with small holes, as a changed view opens them, "
        "on top of their normal share: little of such a picture gives a fill away, so they take longer to learn.",
    )
    levels: tuple[int, ...] = Field(
        (0, 1, 2, 3),
        min_length=2,
        description="Steps of the chain from which the base repaints a noised original: from 0 the fill is all its "
        "own, from later steps less so, and such fills must look more like the photograph.",
    )
    steps: int = Field(3600, ge=1, description="Optimiser steps; 0.4 s each on two cores.")
    batch: int = Field(8, ge=1, description="Crops per step, six pictures of each; time in proportion.")
    muon_lr: float = Field(5e-3, gt=0, description="Learning rate of matrices and convolutions.")
    checkpoint_every: int = Field(250, ge=1, description="Steps between checkpoints; a kill loses at most these.")
