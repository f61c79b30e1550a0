"""The embedded base model: Stable Diffusion inpainting's classes at a size that two CPU cores can train."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInpaintPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from prefpaint.small_model.config import SmallModelConfig

TEXT_LENGTH = 8


BYTE_WORDS = 2 * 256 + 2


def byte_tokenizer(length: int = TEXT_LENGTH, size: int = BYTE_WORDS) -> CLIPTokenizer:
    """A CLIP tokenizer whose vocabulary is the 256 bytes, with and without end-of-word, and no merges.

    Args:
        length: of a text, in tokens.
        size: of the vocabulary, filled up with words that never occur; both ends of a text are its last.
    """
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = [chr(byte) for byte in visible] + [chr(256 + i) for i in range(len(hidden))]
    words = letters + [letter + "</w>" for letter in letters]
    words += [f"<|unused{number}|>" for number in range(size - BYTE_WORDS)] + ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=length)


def build_small_pipeline(config: SmallModelConfig, size: int, seed: int) -> StableDiffusionInpaintPipeline:
    """A randomly initialised `StableDiffusionInpaintPipeline`.

    Args:
        config: layer sizes.
        size: side of the images in pixels; latents are size / 2**(levels - 1).
        seed: of the initial weights.

    Returns:
        The pipeline in fp32, no safety checker. Its DDIM scheduler has zero terminal SNR, v-prediction and trailing
        timesteps (Lin et al. 2024, arXiv 2305.08891): the first step sees nothing but noise, so the mean colour of a
        fill is the network's own decision and does not leak from the training images.
    """
    factor = 2 ** (len(config.vae_channels) - 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            block_out_channels=config.vae_channels,
            down_block_types=("DownEncoderBlock2D",) * len(config.vae_channels),
            up_block_types=("UpDecoderBlock2D",) * len(config.vae_channels),
            layers_per_block=1,
            latent_channels=config.latent_channels,
            norm_num_groups=8,
            sample_size=size,
            mid_block_add_attention=False,
        )
        down = ["CrossAttnDownBlock2D" if on else "DownBlock2D" for on in config.unet_attention]
        up = ["CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(config.unet_attention)]
        unet = UNet2DConditionModel(
            sample_size=size // factor,
            in_channels=2 * config.latent_channels + 1,
            out_channels=config.latent_channels,
            block_out_channels=config.unet_channels,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            layers_per_block=1,
            cross_attention_dim=config.text_width,
            # diffusers' name; for this class it is the number of heads.
            attention_head_dim=config.attention_heads,
            norm_num_groups=8,
        )
        tokenizer = byte_tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.text_width,
                intermediate_size=2 * config.text_width,
                num_hidden_layers=1,
                num_attention_heads=2,
                max_position_embeddings=TEXT_LENGTH,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
    )
    return StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text_encoder.eval(),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
