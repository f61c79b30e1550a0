"""Pipelines of every family with random weights, in the layers of the published checkpoints or in a few narrow ones.

Networks and autoencoders are of full size. Text encoders are not: each has a single layer, of the published width, so
that texts become states of the right shape; a run encodes its texts once. Tokenizers know single bytes or letters.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import diffusers
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, UNet2DConditionModel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from prefpaint.small_model.build import build_small_pipeline
from prefpaint.small_model.config import SmallModelConfig

TEXT_LENGTH = 77  # of CLIP's text encoders

Size = Literal["full", "tiny"]


@dataclass(frozen=True)
class Sizes:
    """What a published model and a tiny one of its family differ in.

    Attributes:
        side: of pictures in pixels.
        vae: channels of the autoencoder's four levels.
        texts: widths of the text encoders, in the pipeline's order.
        network: arguments of the network's class.
    """

    side: int
    vae: tuple[int, ...]
    texts: tuple[int, ...]
    network: Mapping[str, Any] = field(default_factory=dict)


FULL_VAE, TINY_VAE = (128, 256, 512, 512), (16, 32, 32, 32)
# From the published configurations. What is not named here or in the builders below is diffusers' default.
SIZES: dict[str, dict[Size, Sizes]] = {
    "sd15": {
        "full": Sizes(512, FULL_VAE, (768,), {"block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": 8}),
        "tiny": Sizes(64, TINY_VAE, (64,), {"block_out_channels": (32, 64, 128, 128), "attention_head_dim": 8}),
    },
    "sdxl": {
        "full": Sizes(
            1024,
            FULL_VAE,
            (768, 1280),
            {
                "block_out_channels": (320, 640, 1280),
                "transformer_layers_per_block": (1, 2, 10),
                "attention_head_dim": (5, 10, 20),
                "addition_time_embed_dim": 256,
            },
        ),
        "tiny": Sizes(
            64,
            TINY_VAE,
            (64, 64),
            {
                "block_out_channels": (32, 64, 64),
                "transformer_layers_per_block": (1, 1, 2),
                "attention_head_dim": (1, 2, 2),
                "addition_time_embed_dim": 32,
            },
        ),
    },
    "sd3": {
        "full": Sizes(
            1024,
            FULL_VAE,
            (768, 1280, 4096),
            {"num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64, "pos_embed_max_size": 192},
        ),
        "tiny": Sizes(
            64,
            TINY_VAE,
            (64, 64, 128),
            {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "pos_embed_max_size": 8},
        ),
    },
    "flux_fill": {
        "full": Sizes(
            1024,
            FULL_VAE,
            (768, 4096),
            {
                "num_layers": 19,
                "num_single_layers": 38,
                "num_attention_heads": 24,
                "attention_head_dim": 128,
                "axes_dims_rope": (16, 56, 56),
            },
        ),
        "tiny": Sizes(
            64,
            TINY_VAE,
            (64, 128),
            {
                "num_layers": 1,
                "num_single_layers": 1,
                "num_attention_heads": 2,
                "attention_head_dim": 16,
                "axes_dims_rope": (4, 6, 6),
            },
        ),
    },
}


def _vae(sizes: Sizes, channels: int, scale: float, shift: float | None = None) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * len(sizes.vae),
        up_block_types=("UpDecoderBlock2D",) * len(sizes.vae),
        layers_per_block=2,
        latent_channels=channels,
        norm_num_groups=min(32, sizes.vae[0]),
        sample_size=sizes.side,
        scaling_factor=scale,
        shift_factor=shift,
        # Those of latents that are shifted have none.
        use_quant_conv=shift is None,
        use_post_quant_conv=shift is None,
    )


def _clip(width: int, tokenizer: Any, projected: bool) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=1,
        num_attention_heads=width // 64,
        max_position_embeddings=TEXT_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind: Any = CLIPTextModelWithProjection if projected else CLIPTextModel
    return kind(config).eval()


def _t5(width: int) -> tuple[Any, Any]:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=width,
        d_kv=64,
        d_ff=5 * width // 2,
        num_layers=1,
        num_heads=width // 64,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
    )
    return tokenizer, T5EncoderModel(config).eval()


# The schedulers of the first two are the embedded model's: v-prediction keeps latents finite whatever an untrained UNet
# says.
def _stable_diffusion(sizes: Sizes, small: Any) -> Any:
    """Stable Diffusion 1.5 inpainting."""
    unet = UNet2DConditionModel(
        sample_size=sizes.side // 8, in_channels=9, cross_attention_dim=sizes.texts[0], **sizes.network
    )
    return diffusers.StableDiffusionInpaintPipeline(
        vae=_vae(sizes, 4, 0.18215),
        text_encoder=_clip(sizes.texts[0], small.tokenizer, projected=False),
        tokenizer=small.tokenizer,
        unet=unet,
        scheduler=small.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _stable_diffusion_xl(sizes: Sizes, small: Any) -> Any:
    """Stable Diffusion XL inpainting 0.1."""
    first, second = sizes.texts
    unet = UNet2DConditionModel(
        sample_size=sizes.side // 8,
        in_channels=9,
        cross_attention_dim=first + second,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
        # Six numbers about sizes, and the pooled text.
        projection_class_embeddings_input_dim=6 * sizes.network["addition_time_embed_dim"] + second,
        **sizes.network,
    )
    return diffusers.StableDiffusionXLInpaintPipeline(
        vae=_vae(sizes, 4, 0.13025),
        text_encoder=_clip(first, small.tokenizer, projected=False),
        text_encoder_2=_clip(second, small.tokenizer, projected=True),
        tokenizer=small.tokenizer,
        tokenizer_2=small.tokenizer,
        unet=unet,
        scheduler=small.scheduler,
    )


def _stable_diffusion_3(sizes: Sizes, small: Any) -> Any:
    """Stable Diffusion 3 medium with 33 input channels."""
    first, second, third = sizes.texts
    words, t5 = _t5(third)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=sizes.side // 8,
        patch_size=2,
        in_channels=33,
        out_channels=16,
        joint_attention_dim=third,
        caption_projection_dim=sizes.network["num_attention_heads"] * sizes.network["attention_head_dim"],
        pooled_projection_dim=first + second,
        **sizes.network,
    )
    return diffusers.StableDiffusion3InpaintPipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(sizes, 16, 1.5305, 0.0609),
        text_encoder=_clip(first, small.tokenizer, projected=True),
        tokenizer=small.tokenizer,
        text_encoder_2=_clip(second, small.tokenizer, projected=True),
        tokenizer_2=small.tokenizer,
        text_encoder_3=t5,
        tokenizer_3=words,
    )


def _flux_fill(sizes: Sizes, small: Any) -> Any:
    """FLUX.1 Fill dev."""
    first, second = sizes.texts
    words, t5 = _t5(second)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        # Four latents of 16 channels, known latents of as many, and the 8 × 8 pixels of mask of each.
        in_channels=64 + 64 + 256,
        out_channels=64,
        joint_attention_dim=second,
        pooled_projection_dim=first,
        guidance_embeds=True,
        **sizes.network,
    )
    return diffusers.FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_vae(sizes, 16, 0.3611, 0.1159),
        text_encoder=_clip(first, small.tokenizer, projected=False),
        tokenizer=small.tokenizer,
        text_encoder_2=t5,
        tokenizer_2=words,
        transformer=transformer,
    )


BUILDERS: dict[str, Callable[[Sizes, Any], Any]] = {
    "sd15": _stable_diffusion,
    "sdxl": _stable_diffusion_xl,
    "sd3": _stable_diffusion_3,
    "flux_fill": _flux_fill,
}


@contextmanager
def _initialised(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Where weights are made, for as long as the block lasts: twelve billion in float32 on a CPU would take minutes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def random_pipeline(family: str, size: Size, device: str = "cpu", dtype: torch.dtype = torch.float32) -> Any:
    """A pipeline of a family's own diffusers class with random weights.

    Args:
        family: of `SIZES`.
        size: full, as published, or tiny.
        device: where the weights are made; "meta" for shapes alone.
        dtype: of the weights.
    """
    small: Any = build_small_pipeline(SmallModelConfig(), 64, seed=0)
    small.tokenizer.model_max_length = TEXT_LENGTH
    torch.manual_seed(0)
    with _initialised(device, dtype):
        pipe = BUILDERS[family](SIZES[family][size], small)
    pipe.set_progress_bar_config(disable=True)
    return pipe
