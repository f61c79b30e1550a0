"""The reward model and its training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from prefpaint.config import Config


class ContrastBackboneConfig(Config):
    """Frozen ImageNet features (EfficientNet-lite0) of the fill against its surroundings; works offline."""

    kind: Literal["contrast"] = "contrast"
    input_size: int = Field(
        96, ge=64, multiple_of=32, description="Side the image is resized to; cost grows with its square."
    )
    taps: tuple[int, ...] = Field(
        (0, 1, 3, 5, 8),
        description="Depths read, as well as the pixels: 0 is the stem, n the n-th block (1-16). The network is cut "
        "after the deepest.",
    )
    frozen: float = Field(
        1.0, ge=0, le=1, description="Share of the layers, from the input on, left untouched; below 1 costs minutes."
    )


class ClipBackboneConfig(Config):
    """A CLIP image tower on the candidate and on the incomplete image, as published."""

    kind: Literal["clip"] = "clip"
    checkpoint: str = Field(
        "openai/clip-vit-base-patch32",
        description="A transformers CLIP checkpoint with a vision tower: folder or hub id.",
    )
    frozen: float = Field(0.7, ge=0, le=1, description="Share of the layers, from the input on, left untouched.")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="Arithmetic of the tower; bf16 is about twice as fast on a GPU and slower on most CPUs."
    )


class KernelHeadConfig(Config):
    """Nyström features of a Gaussian kernel on frozen features, read out by ridge regression.

    Nothing is trained by descent: the readout is a formula. The embedding keeps distances, so that a picture unlike
    the rated ones gets a wide trust width.
    """

    kind: Literal["kernel"] = "kernel"
    embedding: int = Field(512, ge=2, description="Size of z: how many training candidates serve as landmarks.")
    components: int = Field(256, ge=1, description="Leading principal components of the features that are compared.")
    length: float = Field(
        0.5, gt=0, description="Squared length scale of the kernel, in mean squared distances between candidates."
    )


class MLPHeadConfig(Config):
    """One transformer encoder layer over the single feature token, then an MLP to the embedding z, as published."""

    kind: Literal["mlp"] = "mlp"
    width: int = Field(256, ge=16, description="Token width. Features of another width are projected to it.")
    heads: int = Field(4, ge=1, description="Attention heads of the encoder layer.")
    feedforward: int = Field(256, ge=16, description="Width of the encoder layer's feed-forward part. Published: 1024.")
    feature_dropout: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="Share of the features hidden in each training step, the same for all its candidates: keeps "
        "the head from relying on a few of them. Published: 0.",
    )
    dropout: tuple[float, float] = Field((0.1, 0.2), description="Dropout in the encoder layer and in the MLP.")
    hidden: int = Field(512, ge=16, description="Width of the MLP's first layer.")
    embedding: int = Field(256, ge=2, description="Size of z; reward = ⟨z, ψ⟩.")
    activation: bool = Field(
        True,
        description="GELU between the MLP's layers. Published: false, linear after linear, which collapses the "
        "embeddings to one direction and makes trust a constant.",
    )
    normalise: bool = Field(True, description="Apply LayerNorm to z. Published: false.")


BackboneConfig = ContrastBackboneConfig | ClipBackboneConfig
HeadConfig = KernelHeadConfig | MLPHeadConfig


class TextConfig(Config):
    """How well a fill goes with its text prompt, as one more feature."""

    checkpoint: str = Field(
        "",
        description="A transformers CLIP checkpoint with safetensors weights, folder or hub id. Its cosine similarity "
        "of the filled picture and the text prompt becomes a feature; prompts without words get its mean. CLIP is "
        "saved with the reward (600 MB at ViT-B/32 size), and scoring takes one more pass of it. Empty: the reward "
        "ignores words.",
    )
    weight: float = Field(
        0.5, gt=0, lt=1, description="Share of the similarity in the squared distance of two candidates' features."
    )


class RewardConfig(Config):
    """The `reward` pipeline."""

    speed_only = frozenset({"score_batch"})

    seed: int = Field(0, ge=0, description="Seed of the landmarks, the initial weights and the order of the prompts.")
    backbone: Annotated[BackboneConfig, Field(discriminator="kind")] = ContrastBackboneConfig()
    head: Annotated[HeadConfig, Field(discriminator="kind")] = KernelHeadConfig()
    text: TextConfig = TextConfig()
    ensemble: int = Field(
        1,
        ge=1,
        description="Heads on the one backbone, each trained on its own draw of the training prompts; the reward is "
        "their mean. Time and the size of z are proportional.",
    )
    objective: Literal["regression", "classification", "pairwise"] = Field(
        "regression",
        description="regression: squared error of the score; classification: ordered levels of it (proportional "
        "odds); pairwise: which of two candidates of a prompt is better (Bradley-Terry), whose reward has no level "
        "between prompts. A kernel head is always a regression.",
    )
    levels: int = Field(
        7, ge=2, description="Classification: number of equally filled levels that the scores are cut into."
    )
    within_prompt: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Regression of an mlp head: share of the loss spent on differences between candidates of one "
        "prompt; 0 is plain regression as published, which mostly learns which prompts are easy.",
    )
    epochs: int = Field(15, ge=1, description="Epochs. This and the next three knobs are for an mlp head.")
    batch: int = Field(32, ge=1, description="Prompts per step; each brings all its candidates.")
    lr: float = Field(1e-4, gt=0, description="AdamW's learning rate at the start; it falls to 0 along a cosine.")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's weight decay.")
    score_batch: int = Field(64, ge=1, description="Images scored at a time: memory and speed only.")

    @model_validator(mode="after")
    def _check(self) -> "RewardConfig":
        if self.head.kind == "kernel" and self.objective != "regression":
            raise ValueError(f"objective {self.objective} needs head.kind mlp; a kernel head is always a regression")
        if self.head.kind == "kernel" and self.backbone.frozen < 1:
            raise ValueError("a kernel head needs a frozen backbone: set backbone.frozen to 1, or head.kind to mlp")
        if self.text.checkpoint and self.backbone.kind == "clip" and self.backbone.frozen < 1:
            raise ValueError(
                "text goes with features that are standardised, and those of a clip backbone that is trained are not: "
                'set backbone.frozen to 1, or text.checkpoint to ""'
            )
        return self
