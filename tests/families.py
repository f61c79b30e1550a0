"""Random models of every family's own diffusers classes, small enough for two CPU cores."""

import functools
from typing import Any

import diffusers
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL

WIDTH, LENGTH = 8, 8


def _vae(channels: int, shift: float | None = None) -> AutoencoderKL:
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=SIZE,
        shift_factor=shift,
        scaling_factor=0.5,
        use_quant_conv=shift is None,
        use_post_quant_conv=shift is None,
        mid_block_add_attention=False,
    )
    with torch.no_grad():
        # Three equal colours, larger than random: what latents change is then brightness.
        last = vae.decoder.conv_out.weight
        last.copy_(4 * last[:1].expand_as(last))
    return vae


def _clip(tokenizer: Any, projected: bool) -> Any:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def _t5(width: int) -> tuple[Any, Any]:
    pieces = ["<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz"]
    tokenizer = T5Tokenizer(vocab=[(piece, -float(index)) for index, piece in enumerate(pieces)], extra_ids=0)
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=4, d_ff=16, num_layers=1, num_heads=2, is_encoder_decoder=False
    )
    return tokenizer, T5EncoderModel(config).eval()


def _unet(**changes: Any) -> UNet2DConditionModel:
    settings: dict[str, Any] = {
        "sample_size": SIZE // 4,
        "in_channels": 9,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(settings | changes))


def published_scheduler(**changes: Any) -> DDIMScheduler:
    """That of Stable Diffusion's checkpoints, with DDIM's steps."""
    settings: dict[str, Any] = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
    }
    return DDIMScheduler(**(settings | changes))


def _stable_diffusion(prediction: str) -> Any:
    small = build_small_pipeline(TINY_MODEL, SIZE, 1)
    own = {"unet": _unet(), "vae": _vae(4), "scheduler": published_scheduler(prediction_type=prediction)}
    return type(small)(**{**small.components, **own}, requires_safety_checker=False)


def _stable_diffusion_xl(tokenizer: Any, aesthetic: bool = False) -> Any:
    numbers = 5 if aesthetic else 6
    return diffusers.StableDiffusionXLInpaintPipeline(
        vae=_vae(4),
        text_encoder=_clip(tokenizer, projected=False),
        text_encoder_2=_clip(tokenizer, projected=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=numbers * 8 + WIDTH,
        ),
        scheduler=published_scheduler(),
        requires_aesthetics_score=aesthetic,
    )


def _stable_diffusion_3(tokenizer: Any) -> Any:
    words, t5 = _t5(2 * WIDTH)
    return diffusers.StableDiffusion3InpaintPipeline(
        transformer=SD3Transformer2DModel(
            sample_size=SIZE // 4,
            patch_size=2,
            in_channels=33,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            caption_projection_dim=16,
            pooled_projection_dim=2 * WIDTH,
            pos_embed_max_size=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(16, 0.0),
        text_encoder=_clip(tokenizer, projected=True),
        tokenizer=tokenizer,
        text_encoder_2=_clip(tokenizer, projected=True),
        tokenizer_2=tokenizer,
        text_encoder_3=t5,
        tokenizer_3=words,
    )


def _flux_fill(tokenizer: Any) -> Any:
    words, t5 = _t5(2 * WIDTH)
    return diffusers.FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=_vae(16, 0.1159),
        text_encoder=_clip(tokenizer, projected=False),
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=words,
        transformer=FluxTransformer2DModel(
            patch_size=1,
            # Latents of 4 × 16, known latents of 4 × 16, and four latents' 4 × 4 pixels of mask.
            in_channels=64 + 64 + 64,
            out_channels=64,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def random_model(name: str) -> Any:
    """A pipeline with random weights, the same ones every time.

    Args:
        name: of `MODELS`.
    """
    tokenizer = build_small_pipeline(TINY_MODEL, SIZE, 1).tokenizer
    make = {
        "epsilon": lambda: _stable_diffusion("epsilon"),
        "velocity": lambda: _stable_diffusion("v_prediction"),
        "xl": lambda: _stable_diffusion_xl(tokenizer),
        "xl_aesthetic": lambda: _stable_diffusion_xl(tokenizer, aesthetic=True),
        "sd3": lambda: _stable_diffusion_3(tokenizer),
        "flux_fill": lambda: _flux_fill(tokenizer),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = make[name]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def few_tokens(pipe: Any) -> Any:
    """A FLUX pipeline, with texts of `LENGTH` tokens instead of the published 512, which take nearly all the time.

    What is painted then is not what the stock pipeline paints.
    """
    pipe.encode_prompt = functools.partial(pipe.encode_prompt, max_sequence_length=LENGTH)
    return pipe


MODELS = ("epsilon", "velocity", "xl", "xl_aesthetic", "sd3", "flux_fill")
