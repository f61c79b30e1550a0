"""Sampling an inpainting checkpoint: batched, seeded per image, known pixels pasted back."""

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefpaint import distributed
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError, within_memory
from prefpaint.inpainting.chain import Levels, Schedule, log_probability, per_image, step_mean
from prefpaint.inpainting.checkpoint import TRAINED_TEXTS, weights_digest
from prefpaint.inpainting.config import SPEED_ONLY, SamplingConfig
from prefpaint.inpainting.families.family import Condition, Text
from prefpaint.inpainting.families.registry import family_of
from prefpaint.inpainting.fill_check import FillCheck

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trajectory:
    """N sampled denoising chains; float32, whatever the network's precision.

    Attributes:
        condition: of the N prompts.
        schedule: of the chain.
        latents: (T + 1, N, C, h, w); latents[i] enters step i, latents[T] is decoded.
        log_probs: (T, N), of latents[i + 1] under step i; 0 where σ is 0.
        images: (N, H, W, 3) uint8, known pixels pasted back.
    """

    condition: Condition
    schedule: Schedule
    latents: Tensor
    log_probs: Tensor
    images: np.ndarray


def painting_digest(pipe: Any, config: SamplingConfig) -> str:
    """Changes whenever a pipeline would paint something else: its weights, its scheduler, or the chain.

    What changes memory and speed only does not count: a run killed for memory may resume with a smaller batch.
    """
    chain = config.model_dump(mode="json", exclude=SPEED_ONLY)
    # diffusers lists there the keys that the scheduler's file lacks, in an order that differs between processes.
    scheduler = {key: value for key, value in pipe.scheduler.config.items() if key != "_use_default_values"}
    return fingerprint(weights_digest(pipe), scheduler, chain)


def paste_known(generated: np.ndarray, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Generated pixels inside the hole, the prompt's own outside; all uint8, (N, H, W, 3) and (N, H, W)."""
    return np.where(masks[..., None] > 0, generated, images)


def eight_bits(pixels: Tensor) -> np.ndarray:
    """(N, 3, H, W) in [0, 1] → (N, H, W, 3) uint8."""
    return (pixels.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).cpu().numpy()


class Inpainter:
    """An inpainting checkpoint ready to sample.

    Args:
        pipe: a diffusers pipeline of a supported family (`families`).
        config: chain length, guidance, batch, precision.
        device: torch device; "auto" takes CUDA where there is one, and in several processes each its own.

    Attributes:
        original: the pipeline as it was given.
        family: how it works.
        network, vae: what samples: the pipeline's own in float32, copies in bfloat16, so that no weight of the original
            is rounded.
        evaluations: passes of the network so far, counted per image.
        check: stops what paints nothing; `rollout`, `repaint` and `decode_pixels` ask it.

    Raises:
        PrefPaintError: the checkpoint is of no family, or not for inpainting.
    """

    def __init__(self, pipe: Any, config: SamplingConfig, device: str = "auto") -> None:
        self.family, self.original, self.config, self.evaluations = family_of(pipe), pipe, config, 0
        self.device = distributed.device() if device == "auto" else torch.device(device)
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self._guides = self.family.classifier_free and config.guidance != 1
        tokenizer = pipe.components.get("tokenizer")
        self._trained_texts = tokenizer.init_kwargs.get(TRAINED_TEXTS) if tokenizer is not None else None
        self._said = False
        self._negative: Text = self._encode([self._readable(config.negative_text_prompt)], negative=True)
        self._known: dict[str, int] = {}
        self._texts: dict[str, Tensor] = {}
        # Whether each known text is another than the one that guidance steers away from.
        self._differs: list[bool] = []
        self._read([config.text_prompt])
        self.network, self.vae = (self._ready(part) for part in (self.family.network, pipe.vae))
        self._arrange_vae()
        if config.compile:
            self.network.compile()
        self._schedules: dict[tuple[int, int, int], Schedule] = {}
        self.check = FillCheck(self.family.checkpoint, self.family.network_name)

    def _ready(self, module: Any) -> Any:
        if self.dtype != torch.float32:
            # Copied in the wanted precision at once: a float32 copy on the way would take twice the result's memory.
            cast = {id(value): self._cast(value) for value in (*module.parameters(), *module.buffers())}
            module = copy.deepcopy(module, cast)
        # Of torch's class: diffusers' own warns of modules to be kept in float32 even where there are none.
        torch.nn.Module.to(module, self.device, self.dtype)
        return module.to(memory_format=self._layout).eval().requires_grad_(False)

    def _cast(self, value: Tensor) -> Tensor:
        """A weight or a buffer of a network, in the working precision where it is a floating-point number."""
        dtype = self.dtype if value.is_floating_point() else value.dtype
        cast = value.detach().to(self.device, dtype, copy=True)
        return torch.nn.Parameter(cast, value.requires_grad) if isinstance(value, torch.nn.Parameter) else cast

    @property
    def _layout(self) -> torch.memory_format:
        return torch.channels_last if self.config.channels_last else torch.contiguous_format

    def _arrange_vae(self) -> None:
        # Off as well as on: in float32 the VAE is the checkpoint's own, which another sampler may have set.
        (self.vae.enable_slicing if self.config.vae_slicing else self.vae.disable_slicing)()
        (self.vae.enable_tiling if self.config.vae_tiling else self.vae.disable_tiling)()

    @torch.no_grad()
    def _encode(self, words: Sequence[str], negative: bool = False) -> dict[str, Tensor]:
        """Texts, one after another; the encoders are on the device only meanwhile, for they can be large."""
        encoders = [part for name, part in self.original.components.items() if name.startswith("text_encoder") and part]
        for encoder in encoders:
            encoder.to(self.device)
        found = [self.family.encode_text(text, self.device, negative) for text in words]
        for encoder in encoders:
            encoder.to("cpu")
        return {name: torch.cat([text[name] for text in found]).to(self.dtype) for name in found[0]}

    def _readable(self, text: str) -> str:
        """A text that the checkpoint can read: any, unless it says which it was trained with. Others are left out."""
        if self._trained_texts is None or text in self._trained_texts:
            return text
        if not self._said:
            logger.warning(
                "the model cannot read: it was trained without text prompts, and yours, such as %r, are ignored", text
            )
            self._said = True
        return ""

    def _read(self, words: Sequence[str]) -> list[int]:
        """Numbers of texts among the known ones, after the new ones were encoded; empty texts are the configured one.

        A text is known for as long as the inpainter is: encoders may not fit beside the network.
        """
        words = [self._readable(text or self.config.text_prompt) for text in words]
        new = [text for text in dict.fromkeys(words) if text not in self._known]
        if new:
            encoded = self._encode(new)
            self._known |= {text: len(self._known) + number for number, text in enumerate(new)}
            for number in range(len(new)):
                # Guidance mixes two equal predictions when the texts are equal: (1 - g) f + g f = f. One pass does.
                equal = all(torch.equal(encoded[name][number], value[0]) for name, value in self._negative.items())
                self._differs.append(not equal)
            self._texts = {
                name: torch.cat([self._texts[name], value]) if self._texts else value for name, value in encoded.items()
            }
            self._differ = torch.tensor(self._differs, device=self.device)
        return [self._known[text] for text in words]

    def schedule(self, height: int, width: int) -> Schedule:
        """The chain for pictures of some size in pixels; families with one for all sizes do not look at it."""
        shape = self.latent_shape(height, width)
        if shape not in self._schedules:
            made = self.family.schedule(self.config.steps, self.config.eta, shape)
            self._schedules[shape] = made.to(self.device)
        return self._schedules[shape]

    def draw_noise(self, seeds: Sequence[int], shape: tuple[int, int, int]) -> Tensor:
        """All random numbers of N chains, in the order in which the stock pipeline draws them.

        Args:
            seeds: N integers.
            shape: (C, h, w) of the latents.

        Returns:
            (T + 2, N, C, h, w) float32: the first latents, the VAE posterior's, then each step's.
        """
        noise, spare = [], self.family.spare_draws
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            # One after another: a single call of another shape would draw other numbers.
            drawn = [torch.randn(shape, generator=generator) for _ in range(spare + self.config.steps + 2)]
            noise.append(torch.stack(drawn[spare:]))
        return torch.stack(noise, 1).to(self.device)

    def condition(
        self, images: np.ndarray, masks: np.ndarray, noise: Tensor, texts: Sequence[str] | None = None
    ) -> Condition:
        """Encode prompts.

        Args:
            images: (N, H, W, 3) uint8; what lies in the hole is not seen.
            masks: (N, H, W) uint8, 1 where missing.
            noise: (N, C, h, w), of the VAE posterior.
            texts: N words for them, `config.text_prompt` where they are empty; None for that everywhere.
        """
        holes = torch.from_numpy(np.ascontiguousarray(masks)).to(self.device)[:, None]
        known = self.encode(self.pixels(images) * (holes == 0), noise)
        numbers = self._read(texts or [""])
        guided = self._guides and any(self._differs[number] for number in numbers)
        # The first text alone needs no row for each prompt.
        text = torch.tensor(numbers, device=self.device) if any(numbers) else None
        return replace(self.family.condition(holes.float(), known), text=text, guided=guided)

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
        inputs = pixels.to(self.dtype).contiguous(memory_format=self._layout)
        posterior = self.vae.encode(inputs).latent_dist
        shift, scale = self._latent_units
        return (posterior.mean.float() + posterior.std.float() * noise - shift) * scale

    @property
    def _latent_units(self) -> tuple[float, float]:
        """What is taken from the VAE's latents, and what they are multiplied by then."""
        config = self.vae.config
        return config.shift_factor or 0.0, config.scaling_factor

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(C, h, w) of pictures of some size.

        Raises:
            PrefPaintError: the network cannot take pictures of that size.
        """
        unit = self.family.factor * self.family.patch
        if height % unit or width % unit:
            raise PrefPaintError(
                f"pictures of {width} × {height} pixels: {self.family.name} takes sides that are multiples of {unit}; "
                "set photographs.size"
            )
        return self.family.channels, height // self.family.factor, width // self.family.factor

    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, guided: bool = True
    ) -> Tensor:
        """The network's prediction.

        Args:
            network: in the precision of sampling.
            latents: (N, C, h, w) float32.
            level: one for all images or N.
            condition: of the N prompts.
            guided: False for one pass, whatever the configured guidance.

        Returns:
            (N, C, h, w) float32.
        """
        count, guided = len(latents), guided and condition.guided
        self.evaluations += (1 + guided) * count
        inputs, condition = latents.to(self.dtype), condition.to(self.dtype)
        text = self._text_of(condition, count)
        if not guided:
            return self._pass(network, inputs, level, condition, text)
        level = Levels(*(part.expand(count).repeat(2) for part in (level.time, level.signal, level.spread)))
        negative = {name: value.expand(count, *value.shape[1:]) for name, value in self._negative.items()}
        both = self._pass(
            network,
            inputs.repeat(2, 1, 1, 1),
            level,
            condition.twice(),
            {name: torch.cat([negative[name], value]) for name, value in text.items()},
        )
        without, with_text = both.chunk(2)
        mixed = without + self.config.guidance * (with_text - without)
        if condition.text is None:
            return mixed
        # An image's bytes must not depend on whether another one in its batch is guided.
        return torch.where(self._differ[condition.text].view(-1, 1, 1, 1), mixed, with_text)

    def _text_of(self, condition: Condition, count: int) -> Text:
        if condition.text is None:
            return {name: value[:1].expand(count, *value.shape[1:]) for name, value in self._texts.items()}
        return {name: value[condition.text] for name, value in self._texts.items()}

    def _pass(self, network: Any, latents: Tensor, level: Levels, condition: Condition, text: Text) -> Tensor:
        inputs = latents.contiguous(memory_format=self._layout)
        return self.family.predict(network, inputs, level, condition, text, self.config.guidance).float()

    def decode_pixels(self, latents: Tensor) -> Tensor:
        """(N, C, h, w) latents → (N, 3, H, W) float32 in [0, 1]; gradients flow through it.

        Raises:
            PrefPaintError: the pictures are not finite.
        """
        shift, scale = self._latent_units
        decoded = self.vae.decode((latents / scale + shift).to(self.dtype)).sample
        self.check.decoded(latents, decoded)
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    def decode(self, latents: Tensor) -> np.ndarray:
        """(N, C, h, w) latents → (N, H, W, 3) uint8."""
        return eight_bits(self.decode_pixels(latents))

    def _pasted(
        self,
        latents: Tensor,
        images: np.ndarray,
        masks: np.ndarray,
        seeds: Sequence[int],
        texts: Sequence[str] | None = None,
    ) -> np.ndarray:
        """The pictures that chains end in, looked at, with known pixels pasted back."""
        painted = self.decode(latents)
        self.check.painted(painted, images, masks, seeds, texts)
        return paste_known(painted, images, masks)

    @torch.no_grad()
    def rollout(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        seeds: Sequence[int],
        network: Any = None,
        hole_only: bool = True,
        texts: Sequence[str] | None = None,
    ) -> Trajectory:
        """Sample one chain per prompt and keep it; one batch, however large.

        Args:
            images: (N, H, W, 3) uint8.
            masks: (N, H, W) uint8, 1 where missing.
            seeds: N integers; an image depends on its own seed alone.
            network: to use instead of the checkpoint's.
            hole_only: average log-probabilities over the hole's latents instead of over all.
            texts: N words, see `condition`.
        """
        network = self.network if network is None else network
        schedule = self.schedule(*images.shape[1:3])
        noise = self.draw_noise(seeds, self.latent_shape(*images.shape[1:3]))
        condition = self.condition(images, masks, noise[1], texts)
        weight = condition.mask if hole_only else None
        chain, log_probs = [noise[0]], []
        for index in range(self.config.steps):
            predicted = self.predict(network, chain[-1], schedule.levels[index], condition)
            mean = step_mean(schedule, index, chain[-1], predicted)
            sigma = per_image(schedule.sigma[index], mean)
            chain.append(mean + sigma * noise[index + 2])
            log_probs.append(
                log_probability(chain[-1], mean, sigma, weight)
                if index in schedule.stochastic
                else torch.zeros(len(mean), device=self.device)
            )
        self.check.predicted(predicted)
        pasted = self._pasted(chain[-1], images, masks, seeds, texts)
        return Trajectory(condition, schedule, torch.stack(chain), torch.stack(log_probs), pasted)

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
        schedule = self.schedule(*images.shape[1:3])
        noise = self.draw_noise(seeds, self.latent_shape(*images.shape[1:3]))
        condition = self.condition(images, masks, noise[1])
        latents = noise[0]
        if start > 0:
            level = schedule.levels[start]
            signal, spread = per_image(level.signal, latents), per_image(level.spread, latents)
            latents = signal * self.encode(self.pixels(images), noise[1]) + spread * noise[0]
        for index in range(start, self.config.steps):
            predicted = self.predict(self.network, latents, schedule.levels[index], condition)
            mean = step_mean(schedule, index, latents, predicted)
            latents = mean + per_image(schedule.sigma[index], mean) * noise[index + 2]
        if start == 0:
            return self._pasted(latents, images, masks, seeds)
        # From an original, different seeds may lead to the same picture.
        return paste_known(self.decode(latents), images, masks)

    def sample(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        seeds: Sequence[int],
        texts: Sequence[str] | None = None,
        batch: int | None = None,
    ) -> np.ndarray:
        """Inpaint N prompts in batches.

        Args:
            images: (N, H, W, 3) uint8.
            masks: (N, H, W) uint8, 1 where missing.
            seeds: N integers; an image depends on its own seed and text alone.
            texts: N words, see `condition`.
            batch: prompts at a time; None for `config.batch`.

        Returns:
            (N, H, W, 3) uint8, known pixels pasted back.

        Raises:
            PrefPaintError: out of memory.
        """

        def paint(images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], texts: Sequence[str]) -> np.ndarray:
            return self.rollout(images, masks, seeds, texts=texts).images

        smaller = "set sampling.precision: bf16, or sampling.vae_tiling: true"
        size = batch or self.config.batch
        with within_memory(f"lower sampling.batch (now {self.config.batch})" if size > 1 else smaller):
            return in_batches(paint, size, images, masks, seeds, texts or [""] * len(seeds))


def in_batches(
    paint: Callable[..., np.ndarray], size: int, images: np.ndarray, masks: np.ndarray, *others: Sequence[Any]
) -> np.ndarray:
    """Inpaint N prompts `size` at a time.

    The last batch is filled up with copies, so that every call of the network has the same shape and an image's bytes
    do not depend on which others are sampled with it.

    Args:
        paint: given images, masks and the others of a batch, gives fills.
        size: of a batch.
        images: (N, H, W, 3) uint8.
        masks: (N, H, W) uint8, 1 in the hole.
        others: N seeds, N texts and the like.
    """
    done = []
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        painted = paint(images[rows], masks[rows], *([each[row] for row in rows] for each in others))
        done.append(painted[: len(images) - start])
    return np.concatenate(done)
