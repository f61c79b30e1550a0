"""FLUX.1 Fill: a transformer over packed latents, known latents and the mask at full resolution."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from prefpaint.inpainting.chain import Levels, Schedule, flow_schedule
from prefpaint.inpainting.families.family import Condition, Family, Text, side_of


class FluxFill(Family):
    """Black Forest Labs 2024, as `FluxFillPipeline` samples it.

    Latents, known latents and mask enter packed two by two, in this order: 64 + 64 + 256 channels of a token. The
    network is told the strength of guidance, which must be the same in sampling and in training.
    """

    name = "FLUX.1 Fill"
    pipelines = ("FluxFillPipeline",)
    network_class = "FluxTransformer2DModel"
    parts = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    sized = "vae"
    classifier_free = False
    # The stock pipeline encodes the whole picture first and then starts from noise alone.
    spare_draws = 1
    patch = 2

    def widths(self) -> list[tuple[str, Any, Any]]:
        transformer, pipe = self.network.config, self.pipe
        predicted = transformer.out_channels or transformer.in_channels
        return [
            ("its transformer's predictions", predicted, self.patch**2 * self.channels),
            ("its pooled text", pipe.text_encoder.config.hidden_size, transformer.pooled_projection_dim),
            ("its text_encoder_2", pipe.text_encoder_2.config.d_model, transformer.joint_attention_dim),
        ]

    @property
    def native_size(self) -> int:
        return side_of(self.pipe.vae.config.sample_size)

    @property
    def wanted_channels(self) -> int:
        return self.patch**2 * (2 * self.channels + self.factor**2)

    def schedule(self, steps: int, eta: float, shape: tuple[int, int, int]) -> Schedule:
        tokens = shape[1] * shape[2] // self.patch**2
        return flow_schedule(self.pipe.scheduler, steps, eta, tokens, unit=1.0, from_one=True)

    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        states, pooled, _ = self.pipe.encode_prompt(words, None, device=device)
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def condition(self, holes: Tensor, known: Tensor) -> Condition:
        plain = super().condition(holes, known)
        # Every pixel of a latent becomes a channel of it.
        return Condition(plain.mask, torch.cat([known, F.pixel_unshuffle(holes, self.factor)], 1))

    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, text: Text, guidance: float
    ) -> Tensor:
        count, _, height, width = latents.shape
        known, mask = condition.known.split([self.channels, self.factor**2], 1)
        rows, columns = height // self.patch, width // self.patch
        # A token's place; the first coordinate is always 0.
        sides = [torch.arange(side, device=latents.device, dtype=latents.dtype) for side in (1, rows, columns)]
        words = text["encoder_hidden_states"]
        tokens = network(
            hidden_states=torch.cat([self._pack(part) for part in (latents, known, mask)], 2),
            timestep=level.time.expand(count),
            guidance=latents.new_full((count,), guidance) if network.config.guidance_embeds else None,
            img_ids=torch.cartesian_prod(*sides),
            txt_ids=words.new_zeros(words.shape[1], 3),
            **text,
        ).sample
        return F.pixel_shuffle(tokens.transpose(1, 2).reshape(count, -1, rows, columns), self.patch)

    def _pack(self, values: Tensor) -> Tensor:
        """(N, C, h, w) → (N, h/2 · w/2, 4 C)."""
        return F.pixel_unshuffle(values, self.patch).flatten(2).transpose(1, 2)
