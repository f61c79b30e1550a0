"""The reward model, its training, and the trust put in it."""

from typing import Annotated, Literal

from pydantic import Field

from prefpaint.config import Config


class ContrastBackboneConfig(Config):
    """Frozen ImageNet features (EfficientNet-lite0) of the fill against its surroundings; works offline."""

    kind: Literal["contrast"] = "contrast"
    input_size: int = Field(96, ge=64, multiple_of=32, description="Side the image is resized to; cost ~ square.")
    taps: tuple[int, ...] = Field(
        (0, 1, 3, 5, 8),
        description="Depths read besides the pixels: 0 is the stem, n the n-th block (1-16). The network is cut "
        "after the deepest.",
    )


class ClipBackboneConfig(Config):
    """A CLIP image tower on the candidate and on the incomplete image, as published."""

    kind: Literal["clip"] = "clip"
    checkpoint: str = Field(
        "openai/clip-vit-base-patch32", description="transformers CLIP checkpoint with vision tower: folder or hub id."
    )
    frozen: float = Field(0.7, ge=0, le=1, description="Share of the layers, from the input on, left untouched.")


class HeadConfig(Config):
    """One transformer encoder layer over the single feature token, then an MLP to the embedding z."""

    width: int = Field(256, ge=16, description="Token width. Features of another width are projected to it.")
    heads: int = Field(4, ge=1)
    feedforward: int = Field(256, ge=16)
    feature_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of the features hidden in each training step, the same ones for all its candidates: keeps "
        "the head from leaning on few of them. Published: 0.",
    )
    dropout: tuple[float, float] = Field((0.1, 0.2), description="In the encoder layer, in the MLP.")
    hidden: int = Field(512, ge=16)
    embedding: int = Field(256, ge=2, description="Numbers in z; reward = ⟨z, ψ⟩.")
    activation: bool = Field(
        True,
        description="GELU and LayerNorm inside the MLP. Published: false, linear after linear, which collapses "
        "the embeddings to one direction and makes trust a constant.",
    )


class RewardConfig(Config):
    """The `reward` pipeline."""

    seed: int = Field(0, ge=0)
    backbone: Annotated[ContrastBackboneConfig | ClipBackboneConfig, Field(discriminator="kind")] = (
        ContrastBackboneConfig()
    )
    head: HeadConfig = HeadConfig()
    within_prompt: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the loss spent on differences between candidates of one prompt; 0 is plain regression "
        "as published, which mostly learns which prompts are easy.",
    )
    epochs: int = Field(15, ge=1)
    batch: int = Field(32, ge=1, description="Prompts per step; each brings all its candidates.")
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    score_batch: int = Field(64, ge=1, description="Images scored at a time: memory and speed only.")


class GammaConfig(Config):
    """Amplification γ = exp(−k · width + b) (paper, equation 8)."""

    k: float = Field(0.5, ge=0, description="How fast an uncertain reward loses weight.")
    b: float = Field(0.5, description="Log weight at width 0.")
    unit: Literal["median", "raw"] = Field(
        "median",
        description="Unit of the width: the training median (then k = b gives γ = 1 to the typical sample, "
        "whatever λ and the number of ratings), or the plain number as published.",
    )


class BoundConfig(Config):
    """The `bound` pipeline."""

    ridge: float = Field(1.0, gt=0, description="λ in V = ZᵀZ + λI.")
    gamma: GammaConfig = GammaConfig()
    least_variation: float = Field(
        0.02, ge=0, description="γ with a smaller coefficient of variation over candidates carries no information."
    )
    uninformative: Literal["ignore", "stop"] = Field(
        "ignore", description="What to do then: use γ = 1 for every sample and say so, or stop."
    )
