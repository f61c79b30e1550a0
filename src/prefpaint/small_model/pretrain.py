"""Pretraining of the embedded base model: an autoencoder, then a v-prediction inpainting UNet on its latents.

Every step draws from a seed made of the step's number, so a run that was killed and started again sees the same
batches as one that was not.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import TRAINED_TEXTS, load_pipeline, weights_digest
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.small_model.codec import CodecLoss
from prefpaint.small_model.config import PretrainConfig, UNetConfig
from prefpaint.small_model.examples import Examples
from prefpaint.small_model.fit import fit

# The second text; against it guidance strengthens what is known.
UNKNOWN = "unknown"
# A fixed noise instead of a learned posterior: with a KL term, channels of the latents go dead, and their colours
# with them. The pull keeps the latents from growing to drown the noise.
LATENT_NOISE, LATENT_PULL = 0.05, 1e-3


def _fit_codec(pipe: Any, examples: Examples, config: PretrainConfig, state_file: Path) -> None:
    # At so few channels the ordinary layout is faster than channels last, and a mixture is many times slower.
    vae = pipe.vae.train()
    loss = CodecLoss(config.codec)

    def loss_of(step: int) -> Tensor:
        seeds = [derive_seed("vae", config.seed, step, index) for index in range(config.codec.batch)]
        images, holes = examples.batch(seeds)
        # Half of the crops with their holes at mid-grey, as the UNet's condition is encoded.
        holes[::2] = 0
        images = (images * (1 - holes)).contiguous()
        noise = torch.Generator().manual_seed(derive_seed("vae noise", config.seed, step))
        latents = vae.encode(images).latent_dist.mode()
        noisy = latents + LATENT_NOISE * torch.randn(latents.shape, generator=noise)
        return loss(vae.decode(noisy).sample, images) + LATENT_PULL * latents.square().mean()

    pipe.vae = fit("pretrain autoencoder", vae, loss_of, config.codec, config.checkpoint_every, state_file).eval()
    # Diffusers samples from the posterior that the encoder names: next to no spread.
    with torch.no_grad():
        log_variance = slice(config.model.latent_channels, None)
        pipe.vae.quant_conv.weight[log_variance] = 0
        pipe.vae.quant_conv.bias[log_variance] = -14


def _encode_pool(pipe: Any, examples: Examples, config: PretrainConfig, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of crops and of the same with holes, and latent holes, of one pool of examples."""
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    factor = pipe.vae.config.scaling_factor
    with torch.no_grad():
        for start in range(0, config.unet.pool, 64):
            seeds = [derive_seed("pool", config.seed, index, start + i) for i in range(64)]
            images, holes = (part.contiguous() for part in examples.batch(seeds))
            known = pipe.vae.encode(images * (1 - holes)).latent_dist.mode() * factor
            full = pipe.vae.encode(images).latent_dist.mode() * factor
            for part, value in zip(parts, (full, known, F.interpolate(holes, known.shape[-2:])), strict=True):
                part.append(value)
    return torch.cat(parts[0]), torch.cat(parts[1]), torch.cat(parts[2])


def _embed(pipe: Any, text: str) -> Tensor:
    """(1, L, width) states of the text encoder."""
    tokens = pipe.tokenizer(
        text, padding="max_length", max_length=pipe.tokenizer.model_max_length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return pipe.text_encoder(tokens.input_ids)[0]


def _draw_timesteps(count: int, config: UNetConfig, rng: torch.Generator) -> Tensor:
    """(count,) int64 in [0, 1000): uniform, but for a share in the noisiest fifth."""
    times = torch.randint(0, 1000, (count,), generator=rng)
    noisiest = torch.randint(800, 1000, (count,), generator=rng)
    return torch.where(torch.rand(count, generator=rng) < config.noisiest, noisiest, times)


def velocity_loss(pipe: Any, unet: nn.Module, batch: Sequence[Tensor], config: UNetConfig, seed: int) -> Tensor:
    """Squared error of the predicted velocity, known latents weighing less; a scalar.

    Args:
        pipe: scheduler, tokenizer and text encoder.
        unet: to be trained.
        batch: latents and known latents (N, C, h, w), latent holes (N, 1, h, w).
        config: weights and shares.
        seed: of noise, timesteps and of which crops are shown as unknown.
    """
    clean, known, hole = batch
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(clean.shape, generator=rng)
    times = _draw_timesteps(len(clean), config, rng)
    unknown = torch.rand(len(clean), generator=rng) < config.unknown
    # Not blanked: under guidance the UNet is given the true known part with this text too, and must not look at it.
    known = torch.where(unknown[:, None, None, None], known.roll(1, 0), known)
    texts = torch.cat([_embed(pipe, ""), _embed(pipe, UNKNOWN)])[unknown.long()]
    noisy = pipe.scheduler.add_noise(clean, noise, times)
    inputs = torch.cat([noisy, hole, known], 1).contiguous(memory_format=torch.channels_last)
    predicted = unet(inputs, times, texts).sample
    error = (predicted - pipe.scheduler.get_velocity(clean, noise, times)).square()
    return (error * (config.known_weight + (1 - config.known_weight) * hole)).mean()


def _fit_unet(pipe: Any, examples: Examples, config: PretrainConfig, state_file: Path) -> None:
    unet, how = pipe.unet.to(memory_format=torch.channels_last).train(), config.unet
    per_pool = max(1, how.pool // how.batch * how.pool_passes)
    pool: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def loss_of(step: int) -> Tensor:
        index = step // per_pool
        if index not in pool:
            pool.clear()
            pool[index] = _encode_pool(pipe, examples, config, index)
        seed = derive_seed("unet", config.seed, step)
        chosen = torch.randint(how.pool, (how.batch,), generator=torch.Generator().manual_seed(seed))
        return velocity_loss(pipe, unet, [part[chosen] for part in pool[index]], how, derive_seed("noise", seed))

    pipe.unet = fit("pretrain unet", unet, loss_of, how, config.checkpoint_every, state_file).eval()


def _take_weights(pipe: Any, folder: Path) -> None:
    """Give a new pipeline the weights of an earlier one, and its latents their scale."""
    earlier: Any = load_pipeline(folder)
    try:
        pipe.vae.load_state_dict(earlier.vae.state_dict())
        pipe.unet.load_state_dict(earlier.unet.state_dict())
        pipe.text_encoder.load_state_dict(earlier.text_encoder.state_dict())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise PrefPaintError(
            f"pretrain.start_from: {folder} has other sizes than pretrain.model ({reason}); make them equal"
        ) from error
    pipe.vae.register_to_config(scaling_factor=earlier.vae.config.scaling_factor)


def pretrain(
    photographs: Sequence[np.ndarray], config: PretrainConfig, workspace: Path
) -> StableDiffusionInpaintPipeline:
    """Train the embedded base model, from scratch or from an earlier checkpoint's weights.

    Args:
        photographs: each (H, W, 3) uint8; nothing else is read.
        config: sizes, steps and seeds.
        workspace: folder for checkpoints; a second call with the same arguments, or with more steps, resumes there.

    Returns:
        The pipeline, its VAE scaled so that latents have unit standard deviation.

    Raises:
        PrefPaintError: the checkpoint to start from cannot be read or has other sizes.
    """
    torch.set_num_threads(config.threads)
    pipe: Any = build_small_pipeline(config.model, config.size, config.seed)
    pipe.tokenizer.init_kwargs[TRAINED_TEXTS] = ["", UNKNOWN]
    if config.start_from is not None:
        _take_weights(pipe, config.start_from)
    data = [sha256(image.tobytes()).hexdigest() for image in photographs]
    shared = [
        weights_digest(pipe),
        data,
        config.model_dump(mode="json", exclude={"photographs", "start_from", "codec", "unet", "checkpoint_every"}),
    ]
    codec = fingerprint(shared, config.codec.model_dump(exclude={"steps"}))
    unet = fingerprint(codec, config.codec.steps, config.unet.model_dump(exclude={"steps"}))
    workspace.mkdir(parents=True, exist_ok=True)
    examples = Examples.of(photographs, config)
    if config.codec.steps > 0:
        _fit_codec(pipe, examples, config, workspace / f"codec_{codec}.pt")
        with torch.inference_mode():
            seeds = [derive_seed("scale", config.seed, index) for index in range(256)]
            latents = pipe.vae.encode(examples.batch(seeds)[0].contiguous()).latent_dist.mode()
        pipe.vae.register_to_config(scaling_factor=float(1 / latents.std()))
    pipe.vae.eval().requires_grad_(False)
    _fit_unet(pipe, examples, config, workspace / f"unet_{unet}.pt")
    return pipe
