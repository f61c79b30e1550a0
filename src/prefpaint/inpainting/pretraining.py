"""Pretraining of the embedded base model: an autoencoder, then a v-prediction inpainting UNet on its latents.

Every step draws from a seed made of the step's number, so a run that was killed and started again sees the
same batches as one that was not.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.config import derive_seed, fingerprint
from prefpaint.inpainting.config import PretrainConfig
from prefpaint.inpainting.small_model import build_small_pipeline
from prefpaint.masks.config import MaskConfig, Pattern
from prefpaint.masks.prompts import make_prompt
from prefpaint.photographs.crops import Box, cut, cut_map, sample_crop
from prefpaint.progress import Progress
from prefpaint.state import load_state, save_state


@dataclass(frozen=True)
class TrainingRegion:
    """Pixels that may be trained on.

    Attributes:
        image: (H, W, 3) uint8, the whole photograph.
        depth: (H, W) float32.
        box: the part that belongs to the train split.
    """

    image: np.ndarray
    depth: np.ndarray
    box: Box


def recolour(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random channel order, contrast, saturation, brightness and tint; (H, W, 3) uint8 in and out."""
    values = image.astype(np.float32) / 255
    if rng.random() < 0.3:
        values = values[..., rng.permutation(3)]
    mean = values.mean((0, 1), keepdims=True)
    values = mean + (values - mean) * rng.uniform(0.7, 1.3)
    grey = values.mean(2, keepdims=True)
    values = grey + (values - grey) * rng.uniform(0.5, 1.5)
    values = values * rng.uniform(0.85, 1.15, (1, 1, 3)) + rng.uniform(-0.1, 0.1)
    return (np.clip(values, 0, 1) * 255).round().astype(np.uint8)


def draw_crop(
    regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One training crop and its depth; (size, size, 3) uint8 and (size, size) float32.

    Photographs are drawn by the square root of their area, so that a large one does not crowd out others.
    """
    weight = np.sqrt([region.box.width * region.box.height for region in regions])
    region = regions[rng.choice(len(regions), p=weight / weight.sum())]
    box = sample_crop(region.box, config.crop_side, rng)
    image = cut(region.image, box, size)
    depth = cut_map(region.depth, box, size)
    if rng.random() < 0.5:
        image, depth = image[:, ::-1], depth[:, ::-1]
    if rng.random() < config.recolour:
        image = recolour(image, rng)
    return image, depth


def draw_example(
    regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """One training crop and a mask for it.

    Returns:
        (size, size, 3) uint8 image and (size, size) uint8 mask. A warp's mask is laid over the unwarped crop:
        training needs to know what belongs into the hole.
    """
    rng = np.random.default_rng(seed)
    image, depth = draw_crop(regions, size, config, rng)
    patterns: tuple[Pattern, ...] = ("outpaint_square", "outpaint_strip", "warp")
    pattern = patterns[rng.choice(3, p=(0.3, 0.3, 0.4))]
    prompt = make_prompt(image, depth, pattern, MaskConfig(), int(rng.integers(2**62)))
    return image, prompt.mask


def to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float32 in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)


def _cosine(step: int, steps: int, cycles: int) -> float:
    """Cosine decay from 1 to 0, restarted `cycles` times, after a warm-up of 100 steps."""
    phase = step / steps * cycles % 1.0
    return min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * phase))


def _update_average(average: nn.Module, model: nn.Module, step: int) -> None:
    """Exponential moving average of weights whose memory grows to 2,000 steps."""
    decay = min(0.9995, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


def _fit(
    name: str,
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    lr: float,
    cycles: int,
    every: int,
    state_file: Path,
) -> nn.Module:
    """AdamW with a cosine schedule, gradient clipping, weight averaging and checkpoints; returns the average."""
    average = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01, betas=(0.9, 0.99))
    start = 0
    saved = load_state(state_file)
    if saved is not None:
        model.load_state_dict(saved["model"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        start = int(saved["step"])
    with Progress(f"pretrain {name}", steps, start) as progress:
        for step in range(start, steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * _cosine(step, steps, cycles)
            loss = loss_of(step)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            _update_average(average, model, step)
            progress.step(loss=float(loss.detach()))
            if (step + 1) % every == 0 or step + 1 == steps:
                state: dict[str, Any] = {
                    "model": model.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                }
                save_state(state, state_file)
    return average


def _fit_vae(pipe: Any, regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, folder: Path) -> None:
    vae = pipe.vae.to(memory_format=torch.channels_last).train()

    def loss_of(step: int) -> Tensor:
        seeds = [derive_seed("vae", config.seed, step, i) for i in range(config.vae_batch)]
        crops = [draw_crop(regions, size, config, np.random.default_rng(seed))[0] for seed in seeds]
        images = to_tensor(np.stack(crops))
        noise = torch.Generator().manual_seed(derive_seed("vae noise", config.seed, step))
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(images).latent_dist
            restored = vae.decode(posterior.sample(noise)).sample.float()
        error = restored - images
        # The weak pull to a unit Gaussian only keeps the latents from drifting apart in scale.
        return error.square().mean() + 0.2 * error.abs().mean() + 1e-6 * posterior.kl().mean()

    average = _fit(
        "autoencoder",
        vae,
        loss_of,
        config.vae_steps,
        config.vae_lr,
        config.vae_cycles,
        config.checkpoint_every,
        folder / "vae.pt",
    )
    pipe.vae = average.eval().requires_grad_(False)


def _encode_pool(
    pipe: Any, regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of images and of masked images, and latent masks, of one pool of examples."""
    parts: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    factor = pipe.vae.config.scaling_factor
    with torch.inference_mode():
        for start in range(0, config.pool, 128):
            seeds = [derive_seed("pool", config.seed, index, start + i) for i in range(128)]
            drawn = [draw_example(regions, size, config, seed) for seed in seeds]
            images = to_tensor(np.stack([image for image, _ in drawn]))
            masks = torch.from_numpy(np.stack([mask for _, mask in drawn]))[:, None].float()
            known = pipe.vae.encode(images * (masks < 0.5)).latent_dist.mode() * factor
            full = pipe.vae.encode(images).latent_dist.mode() * factor
            for part, value in zip(parts, (full, known, F.interpolate(masks, known.shape[-2:])), strict=True):
                part.append(value)
    return torch.cat(parts[0]), torch.cat(parts[1]), torch.cat(parts[2])


def _fit_unet(pipe: Any, regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, folder: Path) -> None:
    unet = pipe.unet.to(memory_format=torch.channels_last).train()
    tokens = pipe.tokenizer("", padding="max_length", return_tensors="pt")
    with torch.no_grad():
        text = pipe.text_encoder(tokens.input_ids)[0].expand(config.unet_batch, -1, -1)
    per_pool = config.pool // config.unet_batch * config.pool_passes
    pool: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def loss_of(step: int) -> Tensor:
        index = step // per_pool
        if index not in pool:
            pool.clear()
            pool[index] = _encode_pool(pipe, regions, size, config, index)
        full, known, mask = pool[index]
        rng = torch.Generator().manual_seed(derive_seed("unet", config.seed, step))
        chosen = torch.randint(len(full), (config.unet_batch,), generator=rng)
        clean, hole = full[chosen].clone(), mask[chosen].clone()
        noise = torch.randn(clean.shape, generator=rng)
        times = torch.randint(0, 1000, (config.unet_batch,), generator=rng)
        noisy = pipe.scheduler.add_noise(clean, noise, times)
        inputs = torch.cat([noisy, hole, known[chosen].clone()], 1).contiguous(memory_format=torch.channels_last)
        predicted = unet(inputs, times, text).sample
        error = (predicted - pipe.scheduler.get_velocity(clean, noise, times)).square()
        weight = config.known_weight + (1 - config.known_weight) * hole
        return (error * weight).mean()

    average = _fit(
        "unet", unet, loss_of, config.unet_steps, config.unet_lr, 1, config.checkpoint_every, folder / "unet.pt"
    )
    pipe.unet = average.eval().requires_grad_(False)


def pretrain(
    regions: Sequence[TrainingRegion], size: int, config: PretrainConfig, workspace: Path
) -> StableDiffusionInpaintPipeline:
    """Train the embedded base model from scratch.

    Args:
        regions: the train regions of the photographs; nothing else is read.
        size: side of the images in pixels.
        config: sizes, steps and seeds.
        workspace: folder for checkpoints; a second call with the same arguments goes on from there.

    Returns:
        The pipeline, its VAE scaled so that latents have unit standard deviation.
    """
    torch.set_num_threads(config.threads)
    torch.set_flush_denormal(True)
    folder = workspace / fingerprint(config, size)
    folder.mkdir(parents=True, exist_ok=True)
    pipe: Any = build_small_pipeline(config.model, size, config.seed)
    _fit_vae(pipe, regions, size, config, folder)
    with torch.inference_mode():
        examples = [draw_example(regions, size, config, derive_seed("scale", config.seed, i))[0] for i in range(256)]
        latents = pipe.vae.encode(to_tensor(np.stack(examples))).latent_dist.mode()
    pipe.vae.register_to_config(scaling_factor=float(1 / latents.std()))
    _fit_unet(pipe, regions, size, config, folder)
    return pipe
