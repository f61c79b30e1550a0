"""Sampling an inpainting checkpoint: batched, seeded per image, known pixels pasted back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.ddim import Schedule, ddim_mean, log_probability, make_schedule

INPAINTING_CHANNELS = 9


@dataclass(frozen=True)
class Condition:
    """What the UNet is told about N prompts.

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
    """N sampled denoising chains.

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


def paste_known(generated: np.ndarray, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Generated pixels inside the hole, the prompt's own outside; all uint8, (N, H, W, 3) and (N, H, W)."""
    return np.where(masks[..., None] > 0, generated, images)


class Inpainter:
    """An inpainting pipeline ready to sample.

    Args:
        pipe: a `StableDiffusionInpaintPipeline` whose UNet has 9 input channels.
        config: chain length, guidance, batch, precision.
        device: torch device; "auto" takes CUDA where there is one.

    Raises:
        PrefPaintError: the UNet is no inpainting UNet.
    """

    def __init__(self, pipe: Any, config: SamplingConfig, device: str = "auto") -> None:
        channels = pipe.unet.config.in_channels
        if channels != INPAINTING_CHANNELS:
            raise PrefPaintError(
                f"{pipe.name_or_path or 'the checkpoint'}: its UNet takes {channels} input channels, an inpainting "
                f"checkpoint's takes {INPAINTING_CHANNELS}; give an inpainting checkpoint"
            )
        self.pipe, self.config = pipe, config
        self.device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        pipe.to(self.device, self.dtype, silence_dtype_warnings=True)
        for module in (pipe.unet, pipe.vae):
            module.to(memory_format=torch.channels_last).eval()
        self.schedule: Schedule = make_schedule(pipe.scheduler, config.steps, config.eta)
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

    def draw_noise(self, seeds: Sequence[int], height: int, width: int) -> Tensor:
        """All random numbers of N chains, in the order in which the stock pipeline draws them.

        Args:
            seeds: N integers.
            height, width: of the latents.

        Returns:
            (T + 2, N, C, h, w): the first latents, the VAE posterior's, then each step's.
        """
        latent = self.pipe.unet.config.out_channels
        noise = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            noise.append(
                torch.stack(
                    [torch.randn(latent, height, width, generator=generator) for _ in range(self.config.steps + 2)]
                )
            )
        return torch.stack(noise, 1).to(self.device, self.dtype)

    def condition(self, images: np.ndarray, masks: np.ndarray, noise: Tensor) -> Condition:
        """Encode prompts.

        Args:
            images: (N, H, W, 3) uint8; what lies in the hole is not seen.
            masks: (N, H, W) uint8, 1 where missing.
            noise: (N, C, h, w), of the VAE posterior.
        """
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        holes = torch.from_numpy(np.ascontiguousarray(masks)).to(self.device)[:, None]
        values = (pixels.float() / 127.5 - 1) * (holes == 0)
        posterior = self.pipe.vae.encode(
            values.to(self.dtype).contiguous(memory_format=torch.channels_last)
        ).latent_dist
        known = (posterior.mean + posterior.std * noise) * self.pipe.vae.config.scaling_factor
        return Condition(F.interpolate(holes.to(self.dtype), known.shape[-2:]), known)

    def predict(self, unet: Any, latents: Tensor, index: int, condition: Condition) -> Tensor:
        """The UNet's prediction at step `index` of the chain; (N, C, h, w) in and out."""
        inputs = torch.cat([latents, condition.mask, condition.known], 1).contiguous(memory_format=torch.channels_last)
        time = self.schedule.timesteps[index].to(self.device)
        count = len(latents)
        if not self.guided:
            return unet(inputs, time, self.text.expand(count, -1, -1)).sample
        texts = torch.cat([self.negative_text.expand(count, -1, -1), self.text.expand(count, -1, -1)])
        without, with_text = unet(torch.cat([inputs, inputs]), time, texts).sample.chunk(2)
        return without + self.config.guidance * (with_text - without)

    def decode(self, latents: Tensor) -> np.ndarray:
        """(N, C, h, w) latents → (N, H, W, 3) uint8."""
        decoded = self.pipe.vae.decode(latents / self.pipe.vae.config.scaling_factor).sample
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
        factor = 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)
        noise = self.draw_noise(seeds, images.shape[1] // factor, images.shape[2] // factor)
        condition = self.condition(images, masks, noise[1])
        weight = condition.mask if hole_only else None
        chain, log_probs = [noise[0]], []
        for index in range(self.config.steps):
            mean = ddim_mean(self.schedule, index, chain[-1], self.predict(unet, chain[-1], index, condition))
            sigma = float(self.schedule.sigma[index])
            chain.append(mean + sigma * noise[index + 2])
            log_probs.append(
                log_probability(chain[-1].float(), mean.float(), sigma, weight)
                if sigma > 0
                else torch.zeros(len(mean), device=self.device)
            )
        pasted = paste_known(self.decode(chain[-1]), images, masks)
        return Trajectory(condition, torch.stack(chain), torch.stack(log_probs), pasted)

    def sample(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Inpaint N prompts in batches of `config.batch`.

        The last batch is filled up with copies, so that every UNet call has the same shape and an image's
        bytes do not depend on which others are sampled with it.

        Returns:
            (N, H, W, 3) uint8, known pixels pasted back.
        """
        size = self.config.batch
        done = []
        for start in range(0, len(images), size):
            rows = np.minimum(np.arange(start, start + size), len(images) - 1)
            result = self.rollout(images[rows], masks[rows], [seeds[row] for row in rows])
            done.append(result.images[: len(images) - start])
        return np.concatenate(done)
