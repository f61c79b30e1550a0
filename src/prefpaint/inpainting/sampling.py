"""Sampling an inpainting checkpoint: batched, seeded per image, known pixels pasted back."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from prefpaint import distributed
from prefpaint.config import fingerprint
from prefpaint.errors import within_memory
from prefpaint.inpainting.checkpoint import check_inpainting, weights_digest
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.ddim import Schedule, ddim_mean, log_probability, make_schedule, per_image, target


@dataclass(frozen=True)
class Condition:
    """What the UNet is told about N prompts; float32.

    Attributes:
        mask: (N, 1, h, w) in {0, 1}, 1 where latents are missing.
        known: (N, C, h, w), scaled latents of the image with its hole set to mid-grey.
    """

    mask: Tensor
    known: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "Condition":
        return Condition(self.mask[rows], self.known[rows])


@dataclass(frozen=True)
class Trajectory:
    """N sampled denoising chains; float32, whatever the network's precision.

    Attributes:
        condition: of the N prompts.
        latents: (T + 1, N, C, h, w); latents[i] enters step i, latents[T] is decoded.
        log_probs: (T, N), of latents[i + 1] under step i; 0 where σ is 0.
        images: (N, H, W, 3) uint8, known pixels pasted back.
    """

    condition: Condition
    latents: Tensor
    log_probs: Tensor
    images: np.ndarray


@dataclass(frozen=True)
class Noised:
    """Clean latents on their way to noise, and what the network should say there.

    Attributes:
        latents: (N, C, h, w), x_t.
        target: (N, C, h, w), of the network's prediction, whatever that is.
        spread: (N,), the share of noise in x_t, σ_t in [0, 1].
    """

    latents: Tensor
    target: Tensor
    spread: Tensor


def native_size(pipe: Any) -> int:
    """Side in pixels of the pictures a checkpoint was trained on."""
    return int(pipe.unet.config.sample_size * pipe.vae_scale_factor)


def painting_digest(pipe: Any, config: SamplingConfig) -> str:
    """Changes whenever a pipeline would paint something else: its weights, its scheduler, or the chain.

    The batch and the processes change memory and speed only: a run killed for memory may resume with a smaller batch.
    """
    chain = config.model_dump(mode="json", exclude={"batch", "processes"})
    # diffusers lists there the keys that the scheduler's file lacks, in an order that differs between processes.
    scheduler = {key: value for key, value in pipe.scheduler.config.items() if key != "_use_default_values"}
    return fingerprint(weights_digest(pipe), scheduler, chain)


def paste_known(generated: np.ndarray, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Generated pixels inside the hole, the prompt's own outside; all uint8, (N, H, W, 3) and (N, H, W)."""
    return np.where(masks[..., None] > 0, generated, images)


class Inpainter:
    """An inpainting pipeline ready to sample.

    Args:
        pipe: a `StableDiffusionInpaintPipeline` whose UNet is told what is known.
        config: chain length, guidance, batch, precision.
        device: torch device; "auto" takes CUDA where there is one, and in several processes each its own.

    Attributes:
        original: the pipeline as it was given.
        pipe: what samples: the same object in float32, a copy in bfloat16, so that no weight of the original is
            rounded.
        evaluations: UNet passes so far, counted per image.

    Raises:
        PrefPaintError: the UNet is not an inpainting UNet.
    """

    def __init__(self, pipe: Any, config: SamplingConfig, device: str = "auto") -> None:
        check_inpainting(pipe)
        self.original, self.config, self.evaluations = pipe, config, 0
        self.device = distributed.device() if device == "auto" else torch.device(device)
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.pipe = pipe if config.precision == "fp32" else copy.deepcopy(pipe)
        self.pipe.to(self.device, self.dtype, silence_dtype_warnings=True)
        for module in (self.pipe.unet, self.pipe.vae):
            module.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.schedule: Schedule = make_schedule(pipe.scheduler, config.steps, config.eta).to(self.device)
        with torch.no_grad():
            positive = self._text(config.text_prompt)
            negative = self._text(config.negative_text_prompt)
        # Guidance mixes two equal predictions when the prompts are equal: (1 - g) f + g f = f. One pass does.
        self.guided = config.guidance != 1 and not torch.equal(positive, negative)
        self.text, self.negative_text = positive, negative

    def _text(self, words: str) -> Tensor:
        tokens = self.pipe.tokenizer(
            words,
            padding="max_length",
            max_length=self.pipe.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        return self.pipe.text_encoder(tokens.input_ids.to(self.device))[0]

    def draw_noise(self, seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
        """All random numbers of N chains, in the order in which the stock pipeline draws them.

        Args:
            seeds: N integers.
            shape: (C, h, w) of the latents.

        Returns:
            (T + 2, N, C, h, w) float32: the first latents, the VAE posterior's, then each step's.
        """
        noise = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            # One after another: a single call of another shape would draw other numbers.
            noise.append(torch.stack([torch.randn(shape, generator=generator) for _ in range(self.config.steps + 2)]))
        return torch.stack(noise, 1).to(self.device)

    def condition(self, images: np.ndarray, masks: np.ndarray, noise: Tensor) -> Condition:
        """Encode prompts.

        Args:
            images: (N, H, W, 3) uint8; what lies in the hole is not seen.
            masks: (N, H, W) uint8, 1 where missing.
            noise: (N, C, h, w), of the VAE posterior.
        """
        holes = torch.from_numpy(np.ascontiguousarray(masks)).to(self.device)[:, None]
        known = self.encode(self.pixels(images) * (holes == 0), noise)
        return Condition(F.interpolate(holes.float(), known.shape[-2:]), known)

    def pixels(self, images: np.ndarray) -> Tensor:
        """(N, H, W, 3) uint8 → (N, 3, H, W) float32 in [-1, 1]."""
        values = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        return values.float() / 127.5 - 1

    def encode(self, pixels: Tensor, noise: Tensor) -> Tensor:
        """Scaled latents, drawn from the VAE's posterior.

        Args:
            pixels: (N, 3, H, W) float32 in [-1, 1].
            noise: (N, C, h, w).

        Returns:
            (N, C, h, w) float32.
        """
        inputs = pixels.to(self.dtype).contiguous(memory_format=torch.channels_last)
        posterior = self.pipe.vae.encode(inputs).latent_dist
        return (posterior.mean.float() + posterior.std.float() * noise) * self.pipe.vae.config.scaling_factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of pictures of some size."""
        factor = 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)
        return self.pipe.unet.config.out_channels, height // factor, width // factor

    def predict(self, unet: Any, latents: Tensor, index: int | Tensor, condition: Condition) -> Tensor:
        """The UNet's prediction.

        Args:
            unet: in the precision of sampling.
            latents: (N, C, h, w) float32.
            index: step of the chain, one for all images or (N,) int64.
            condition: of the N prompts.

        Returns:
            (N, C, h, w) float32.
        """
        return self.predict_at(unet, latents, self.schedule.timesteps[index], condition)

    def predict_at(self, unet: Any, latents: Tensor, time: Tensor, condition: Condition, guided: bool = True) -> Tensor:
        """The same at any timesteps, () or (N,) int64, not only those of the chain, and optionally without guidance."""
        inputs = torch.cat([latents, condition.mask, condition.known], 1)
        inputs = inputs.to(self.dtype).contiguous(memory_format=torch.channels_last)
        count = len(latents)
        if not (guided and self.guided):
            self.evaluations += count
            return unet(inputs, time, self.text.expand(count, -1, -1)).sample.float()
        self.evaluations += 2 * count
        texts = torch.cat([self.negative_text.expand(count, -1, -1), self.text.expand(count, -1, -1)])
        times = torch.cat([time.expand(count)] * 2)
        without, with_text = unet(torch.cat([inputs, inputs]), times, texts).sample.float().chunk(2)
        return without + self.config.guidance * (with_text - without)

    def noised(self, clean: Tensor, noise: Tensor, time: Tensor) -> Noised:
        """x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε.

        Args:
            clean, noise: (N, C, h, w).
            time: (N,) int64, timesteps of the checkpoint's training.
        """
        alpha = self.schedule.trained[time]
        signal, spread = (values.float().reshape(-1, 1, 1, 1) for values in (alpha.sqrt(), (1 - alpha).sqrt()))
        return Noised(
            signal * clean + spread * noise,
            target(self.schedule.prediction, clean, noise, signal, spread),
            spread.flatten(),
        )

    def decode(self, latents: Tensor) -> np.ndarray:
        """(N, C, h, w) latents → (N, H, W, 3) uint8."""
        decoded = self.pipe.vae.decode((latents / self.pipe.vae.config.scaling_factor).to(self.dtype)).sample
        pixels = (decoded.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1) * 255
        return pixels.round().to(torch.uint8).cpu().numpy()

    @torch.no_grad()
    def rollout(
        self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], unet: Any = None, hole_only: bool = True
    ) -> Trajectory:
        """Sample one chain per prompt and keep it; one batch, however large.

        Args:
            images: (N, H, W, 3) uint8.
            masks: (N, H, W) uint8, 1 where missing.
            seeds: N integers; an image depends on its own seed alone.
            unet: to use instead of the pipeline's.
            hole_only: average log-probabilities over the hole's latents instead of over all.
        """
        unet = self.pipe.unet if unet is None else unet
        noise = self.draw_noise(seeds, self.latent_shape(images.shape[1], images.shape[2]))
        condition = self.condition(images, masks, noise[1])
        weight = condition.mask if hole_only else None
        chain, log_probs = [noise[0]], []
        stochastic = set(self.schedule.stochastic)
        for index in range(self.config.steps):
            mean = ddim_mean(self.schedule, index, chain[-1], self.predict(unet, chain[-1], index, condition))
            sigma = per_image(self.schedule.sigma, index, mean)
            chain.append(mean + sigma * noise[index + 2])
            log_probs.append(
                log_probability(chain[-1], mean, sigma, weight)
                if index in stochastic
                else torch.zeros(len(mean), device=self.device)
            )
        pasted = paste_known(self.decode(chain[-1]), images, masks)
        return Trajectory(condition, torch.stack(chain), torch.stack(log_probs), pasted)

    @torch.no_grad()
    def repaint(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], start: int) -> np.ndarray:
        """Noise originals to a step of the chain and paint from there (SDEdit, Meng et al. 2022); one batch.

        Args:
            images: (N, H, W, 3) uint8, with what belongs in the hole.
            masks: (N, H, W) uint8, 1 in the hole.
            seeds: N integers.
            start: first step that is run; 0 paints from pure noise, as `rollout` does.

        Returns:
            (N, H, W, 3) uint8, known pixels pasted back.
        """
        noise = self.draw_noise(seeds, self.latent_shape(images.shape[1], images.shape[2]))
        condition = self.condition(images, masks, noise[1])
        latents = noise[0]
        if start > 0:
            signal = per_image(self.schedule.alpha.sqrt(), start, latents)
            spread = per_image((1 - self.schedule.alpha).sqrt(), start, latents)
            latents = signal * self.encode(self.pixels(images), noise[1]) + spread * noise[0]
        for index in range(start, self.config.steps):
            mean = ddim_mean(self.schedule, index, latents, self.predict(self.pipe.unet, latents, index, condition))
            latents = mean + per_image(self.schedule.sigma, index, mean) * noise[index + 2]
        return paste_known(self.decode(latents), images, masks)

    def sample(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Inpaint N prompts in batches of `config.batch`.

        Args:
            images: (N, H, W, 3) uint8.
            masks: (N, H, W) uint8, 1 where missing.
            seeds: N integers; an image depends on its own seed alone.

        Returns:
            (N, H, W, 3) uint8, known pixels pasted back.

        Raises:
            PrefPaintError: out of memory.
        """
        with within_memory(f"lower sampling.batch (now {self.config.batch})"):
            return in_batches(lambda *part: self.rollout(*part).images, images, masks, seeds, self.config.batch)


Paint = Callable[[np.ndarray, np.ndarray, Sequence[int]], np.ndarray]


def in_batches(paint: Paint, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], size: int) -> np.ndarray:
    """Inpaint N prompts `size` at a time.

    The last batch is filled up with copies, so that every UNet call has the same shape and an image's bytes do not
    depend on which others are sampled with it.
    """
    done = []
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        painted = paint(images[rows], masks[rows], [seeds[row] for row in rows])
        done.append(painted[: len(images) - start])
    return np.concatenate(done)


class Samples(Protocol):
    """Anything that fills prompts of its own size: `Inpainter`, `stock.StockInpainter`."""

    original: Any

    def sample(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray: ...


def paint_at_native_size(inpainter: Samples, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """Inpaint prompts of any size with a model of another size.

    Prompts are resized to the model's size, painted and brought back; known pixels are the prompt's own.

    Args:
        inpainter: what paints.
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) uint8, 1 in the hole.
        seeds: N integers.

    Returns:
        (N, H, W, 3) uint8.
    """
    side, (height, width) = native_size(inpainter.original), images.shape[1:3]
    if (height, width) == (side, side):
        return np.asarray(inpainter.sample(images, masks, seeds))
    # What lies in the hole must not bleed into what is known when it is resized.
    blind = [classical_fill("telea", *one) for one in zip(images, masks, strict=True)]
    large = np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.LANCZOS)) for one in blind])
    # Any missing pixel makes what it is resized to missing, so that no grey of a hole is taken for known.
    holes = np.stack(
        [np.asarray(Image.fromarray(255 * one).resize((side, side), Image.Resampling.BOX)) for one in masks]
    )
    painted = inpainter.sample(large, (holes > 0).astype(np.uint8), seeds)
    small = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS)) for one in painted]
    return np.where(masks[..., None] > 0, np.stack(small), images)
