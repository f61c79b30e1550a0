"""Architectures as they are published, with random weights: diffusers' and transformers' classes and their numbers.

Every number is that of the published `config.json`, or the class's default where the two agree. Nothing is downloaded;
vocabularies have their real size, with invented words.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from prefpaint.files import whole_folder
from prefpaint.judges.imagereward import HEAD_SIZE, TEXT_CONFIG, VISION, WEIGHTS
from prefpaint.small_model.build import byte_tokenizer

Settings = Mapping[str, Any]

CLIP_WORDS, BERT_WORDS, T5_WORDS = 49408, 30524, 32128
CLIP_LENGTH = 77


@dataclass(frozen=True)
class Part:
    """One module of a checkpoint.

    Attributes:
        kind: name of its class, of diffusers or of transformers.
        settings: of its configuration.
    """

    kind: str
    settings: Settings

    def build(self) -> Any:
        """The module, with random weights of torch's default type on torch's default device."""
        if hasattr(diffusers, self.kind):
            return getattr(diffusers, self.kind)(**self.settings)
        kind = getattr(transformers, self.kind)
        return kind(kind.config_class(**self.settings))

    def with_settings(self, **changes: Any) -> "Part":
        """The same with other numbers."""
        return replace(self, settings={**self.settings, **changes})


@dataclass(frozen=True)
class Base:
    """An inpainting checkpoint.

    Attributes:
        pipeline: its diffusers class.
        parts: its modules by name.
        scheduler: class and settings.
        size: side in pixels of the pictures it was trained on.
        words: tokens of a text, as its pipeline pads them.
        options: further arguments of the pipeline.
        dtype: of the weights in the files.
        cut: what is left out of the published architecture; empty where nothing is.
    """

    pipeline: str
    parts: Mapping[str, Part]
    scheduler: Part
    size: int
    words: int = CLIP_LENGTH
    options: Settings = field(default_factory=dict)
    dtype: torch.dtype = torch.float16
    cut: str = ""


def _vae(**settings: Any) -> Part:
    """The autoencoder that all these models share, but for the number of latents and their units."""
    return Part(
        "AutoencoderKL",
        {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "norm_num_groups": 32,
            **settings,
        },
    )


def _clip_text(kind: str, width: int, layers: int, heads: int, **settings: Any) -> Part:
    return Part(
        kind,
        {
            "vocab_size": CLIP_WORDS,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "max_position_embeddings": CLIP_LENGTH,
            "projection_dim": width,
            "bos_token_id": CLIP_WORDS - 2,
            "eos_token_id": CLIP_WORDS - 1,
            "pad_token_id": CLIP_WORDS - 1,
            **settings,
        },
    )


CLIP_L = _clip_text("CLIPTextModel", 768, 12, 12)
DDIM = Part(
    "DDIMScheduler",
    {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
)

# stable-diffusion-v1-5/stable-diffusion-inpainting.
SD15 = Base(
    pipeline="StableDiffusionInpaintPipeline",
    parts={
        "unet": Part(
            "UNet2DConditionModel",
            {
                "sample_size": 64,
                "in_channels": 9,
                "out_channels": 4,
                "block_out_channels": (320, 640, 1280, 1280),
                "layers_per_block": 2,
                "cross_attention_dim": 768,
                # diffusers' name; for this class it is the number of heads.
                "attention_head_dim": 8,
            },
        ),
        "vae": _vae(sample_size=512, scaling_factor=0.18215),
        "text_encoder": CLIP_L,
    },
    scheduler=DDIM,
    size=512,
    options={"requires_safety_checker": False},
    # Files in the precision that they are loaded in are mapped, and take no memory that others could not have.
    dtype=torch.float32,
)

# diffusers/stable-diffusion-xl-1.0-inpainting-0.1.
SDXL = Base(
    pipeline="StableDiffusionXLInpaintPipeline",
    parts={
        "unet": Part(
            "UNet2DConditionModel",
            {
                "sample_size": 128,
                "in_channels": 9,
                "out_channels": 4,
                "block_out_channels": (320, 640, 1280),
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "layers_per_block": 2,
                "transformer_layers_per_block": (1, 2, 10),
                "attention_head_dim": (5, 10, 20),
                "cross_attention_dim": 2048,
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
        ),
        "vae": _vae(sample_size=1024, scaling_factor=0.13025),
        "text_encoder": CLIP_L,
        "text_encoder_2": _clip_text("CLIPTextModelWithProjection", 1280, 32, 20, hidden_act="gelu"),
    },
    scheduler=DDIM,
    size=1024,
)

# black-forest-labs/FLUX.1-Fill-dev.
FLUX_FILL = Base(
    pipeline="FluxFillPipeline",
    parts={
        "transformer": Part(
            "FluxTransformer2DModel",
            {
                "patch_size": 1,
                "in_channels": 384,
                "out_channels": 64,
                "num_layers": 19,
                "num_single_layers": 38,
                "attention_head_dim": 128,
                "num_attention_heads": 24,
                "joint_attention_dim": 4096,
                "pooled_projection_dim": 768,
                "guidance_embeds": True,
                "axes_dims_rope": (16, 56, 56),
            },
        ),
        "vae": _vae(
            sample_size=1024,
            latent_channels=16,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        "text_encoder": CLIP_L,
        "text_encoder_2": Part(
            "T5EncoderModel",
            {
                "vocab_size": T5_WORDS,
                "d_model": 4096,
                "d_kv": 64,
                "d_ff": 10240,
                "num_layers": 24,
                "num_heads": 64,
                "feed_forward_proj": "gated-gelu",
                "is_encoder_decoder": False,
                "use_cache": False,
            },
        ),
    },
    scheduler=Part(
        "FlowMatchEulerDiscreteScheduler", {"use_dynamic_shifting": True, "shift": 3.0, "max_image_seq_len": 4096}
    ),
    size=1024,
    words=512,
)

# One block of two streams to two of one, as published (19 and 38), and one layer of T5.
FLUX_FILL_CUT = replace(
    FLUX_FILL,
    parts={
        **FLUX_FILL.parts,
        "transformer": FLUX_FILL.parts["transformer"].with_settings(num_layers=1, num_single_layers=2),
        "text_encoder_2": FLUX_FILL.parts["text_encoder_2"].with_settings(num_layers=1),
    },
    cut="its transformer has 3 of 57 blocks, and its T5 1 of 24 layers",
)

# What is estimated, and what is rehearsed for it: FLUX.1 with all blocks fits few machines.
WHOLE = {"sd15": SD15, "sdxl": SDXL, "flux_fill": FLUX_FILL}
BASES = {**WHOLE, "flux_fill": FLUX_FILL_CUT}

# ViT-B/32's vision tower, and CLIP's text tower of 512 channels beside it.
VIT_B_32 = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
VIT_B_32 |= {"patch_size": 32, "image_size": 224, "projection_dim": 512}
# openai/clip-vit-base-patch32.
CLIP_B_32 = Part(
    "CLIPModel",
    {
        "text_config": {**_clip_text("", 512, 12, 8).settings, "projection_dim": 512},
        "vision_config": VIT_B_32,
        "projection_dim": 512,
    },
)
# LiheYoung/depth-anything-small-hf; transformers' defaults are its numbers.
DEPTH_SMALL = Part(
    "DepthAnythingForDepthEstimation",
    {
        "backbone_config": {
            "model_type": "dinov2",
            "image_size": 518,
            "hidden_size": 384,
            "num_attention_heads": 6,
            "num_hidden_layers": 12,
            "patch_size": 14,
            "out_indices": [9, 10, 11, 12],
            "apply_layernorm": True,
            "reshape_hidden_states": False,
        },
        "reassemble_hidden_size": 384,
        "neck_hidden_sizes": [48, 96, 192, 384],
        "fusion_hidden_size": 64,
        "patch_size": 14,
    },
)
_BERT = {"vocab_size": BERT_WORDS, "hidden_size": 768, "intermediate_size": 3072}
_BERT |= {"num_hidden_layers": 12, "num_attention_heads": 12, "max_position_embeddings": 512}
# Salesforce/blip-itm-base-coco.
BLIP = Part(
    "BlipForImageTextRetrieval",
    {
        "text_config": {**_BERT, "encoder_hidden_size": 768, "bos_token_id": BERT_WORDS - 2},
        "vision_config": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "image_size": 384,
            "patch_size": 16,
        },
        "projection_dim": 256,
        "image_text_hidden_size": 256,
    },
)
# google/vit-base-patch16-224, with its 1,000 labels or with one output.
VIT_B_16 = Part("ViTForImageClassification", {"image_size": 224, "patch_size": 16, "num_labels": 1000})
AESTHETIC = VIT_B_16.with_settings(num_labels=1)


@dataclass(frozen=True)
class ImageRewardSizes:
    """THUDM/ImageReward: BLIP with ViT-L/16 and BERT, and a head of five layers."""

    vision: Settings
    text: Settings
    head: tuple[int, ...]


IMAGEREWARD = ImageRewardSizes(
    vision={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 16,
    },
    text={**_BERT, "layer_norm_eps": 1e-12},
    head=(768, 1024, 128, 64, 16, 1),
)


@dataclass(frozen=True)
class Models:
    """All checkpoints of one rehearsal; `REAL`'s are the published sizes."""

    base: Base
    clip: Part = CLIP_B_32
    depth: Part = DEPTH_SMALL
    blip: Part = BLIP
    classifier: Part = VIT_B_16
    aesthetic: Part = AESTHETIC
    imagereward: ImageRewardSizes = IMAGEREWARD


@contextmanager
def building(dtype: torch.dtype, seed: int = 0) -> Iterator[None]:
    """Modules are made in a type of their own and from a seed, whatever torch's defaults are."""
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def on_meta(part: Part) -> Any:
    """A module without memory, to count with."""
    with torch.device("meta"), building(torch.bfloat16):
        return part.build()


def parameters(module: nn.Module) -> int:
    """How many weights a module has."""
    return sum(value.numel() for value in module.parameters())


def clip_tokenizer() -> transformers.CLIPTokenizer:
    """A tokenizer of bytes with CLIP's 49,408 words and its length; most words never occur."""
    return byte_tokenizer(CLIP_LENGTH, CLIP_WORDS)


def bert_words() -> list[str]:
    """As many words as BERT's in BLIP has: the letters, and invented ones."""
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz", "photograph"]
    known += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    return [*known, *(f"[unused{number}]" for number in range(BERT_WORDS - len(known) - 2)), "[DEC]", "[ENC]"]


def t5_tokenizer() -> transformers.T5Tokenizer:
    """A tokenizer of letters with T5's 32,128 words."""
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    pieces += [f"<unused{number}>" for number in range(T5_WORDS - len(pieces))]
    return transformers.T5Tokenizer(vocab=[(piece, -float(n)) for n, piece in enumerate(pieces)], extra_ids=0)


def write_base(base: Base, folder: Path) -> None:
    """Write a base checkpoint as diffusers does.

    Args:
        base: what.
        folder: replaced as a whole.
    """
    kind = getattr(diffusers, base.pipeline)
    tokenizers: dict[str, Callable[[], Any]] = {"text_encoder": clip_tokenizer, "text_encoder_2": clip_tokenizer}
    if base.parts.get("text_encoder_2", CLIP_L).kind == "T5EncoderModel":
        tokenizers["text_encoder_2"] = t5_tokenizer
    own = {name.replace("text_encoder", "tokenizer"): make() for name, make in tokenizers.items() if name in base.parts}
    with building(torch.float16):
        modules = {name: part.build().to(base.dtype) for name, part in base.parts.items()}
    without = {"safety_checker": None, "feature_extractor": None} if "requires_safety_checker" in base.options else {}
    pipe = kind(**modules, **own, **without, scheduler=base.scheduler.build(), **base.options)
    with whole_folder(folder) as temporary:
        pipe.save_pretrained(temporary, safe_serialization=True)


def write_models(models: Models, folder: Path) -> None:
    """Write every checkpoint of a rehearsal into a folder of its own; those that are there stay.

    Args:
        models: what.
        folder: gets the folders base, clip, depth, blip, classifier, aesthetic and imagereward.
    """
    makers = {
        "base": lambda place: write_base(models.base, place),
        "clip": lambda place: _write(models.clip, place, _clip_processor(models.clip)),
        "depth": lambda place: _write(models.depth, place, _depth_processor(models.depth)),
        "blip": lambda place: _write(models.blip, place, _blip_processor(models.blip)),
        "classifier": lambda place: _write(models.classifier, place, _vit_processor(models.classifier)),
        "aesthetic": lambda place: _write(models.aesthetic, place, _vit_processor(models.aesthetic)),
        "imagereward": lambda place: _write_imagereward(models.imagereward, place),
    }
    for name, make in makers.items():
        if not (folder / name).exists():
            make(folder / name)


def _write(part: Part, folder: Path, processor: Any) -> None:
    with building(torch.float32):
        module = part.build()
    if part.kind == "DepthAnythingForDepthEstimation":
        # Its last layer is a ReLU, which a random model may not pass.
        with torch.no_grad():
            module.head.conv3.bias.fill_(1.0)
    with whole_folder(folder) as temporary:
        module.save_pretrained(temporary)
        processor.save_pretrained(temporary)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _clip_processor(part: Part) -> Any:
    side = part.settings["vision_config"]["image_size"]
    images = transformers.CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=_square(side))
    return transformers.CLIPProcessor(image_processor=images, tokenizer=clip_tokenizer())


def _depth_processor(part: Part) -> Any:
    side, patch = part.settings["backbone_config"]["image_size"], part.settings["patch_size"]
    return transformers.DPTImageProcessorPil(size=_square(side), ensure_multiple_of=patch, keep_aspect_ratio=True)


def _blip_processor(part: Part) -> Any:
    side = part.settings["vision_config"]["image_size"]
    vocabulary = {word: number for number, word in enumerate(bert_words())}
    words = transformers.BertTokenizer(vocab=vocabulary, model_max_length=512)
    return transformers.BlipProcessor(transformers.BlipImageProcessorPil(size=_square(side)), words)


def _vit_processor(part: Part) -> Any:
    return transformers.ViTImageProcessorPil(size=_square(part.settings["image_size"]))


def _write_imagereward(sizes: ImageRewardSizes, folder: Path) -> None:
    """The authors' file, under their names."""
    from prefpaint.judges.imagereward import ImageReward

    vision = transformers.BlipVisionConfig(**sizes.vision)
    width = sizes.vision["hidden_size"]
    text = transformers.BlipTextConfig(**sizes.text, encoder_hidden_size=width, bos_token_id=None, sep_token_id=None)
    assert sizes.vision["num_attention_heads"] == max(1, width // HEAD_SIZE)
    with building(torch.float32):
        model = ImageReward(
            transformers.BlipVisionModel(vision),
            transformers.BlipTextModel(text, add_pooling_layer=False),
            list(sizes.head),
        )
    with whole_folder(folder) as temporary:
        torch.save({_published_name(key): value for key, value in model.state_dict().items()}, temporary / WEIGHTS)
        (temporary / TEXT_CONFIG).write_text(json.dumps(dict(sizes.text)))
        (temporary / "vocab.txt").write_text("\n".join(bert_words()) + "\n", encoding="utf-8")


# Published names of the image tower, longest first, so that no name is found inside another.
_THEIRS = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "encoder.layers.": "blocks.",
    ".self_attn.qkv": ".attn.qkv",
    ".self_attn.projection": ".attn.proj",
    ".layer_norm1.": ".norm1.",
    ".layer_norm2.": ".norm2.",
    "post_layernorm.": "norm.",
}
assert len(_THEIRS) == len(VISION) + 1
# Places of the head's linear layers; dropout lies between them.
_HEAD = (0, 2, 4, 6, 7)


def _published_name(key: str) -> str:
    """The name under which ImageReward's authors keep a weight."""
    part, _, name = key.partition(".")
    if part == "vision":
        for ours, theirs in _THEIRS.items():
            name = name.replace(ours, theirs)
        return f"blip.visual_encoder.{name}"
    if part == "text":
        return f"blip.text_encoder.{name}"
    number, _, kind = name.partition(".")
    return f"mlp.layers.{_HEAD[int(number)]}.{kind}"
