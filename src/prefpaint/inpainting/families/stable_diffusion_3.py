"""Stable Diffusion 3 with a transformer of 33 channels, which predicts the velocity of a straight flow."""

from typing import Any

import torch
from torch import Tensor

from prefpaint.inpainting.chain import Levels, Schedule, flow_schedule
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.family import Condition, Family, Text


class StableDiffusion3(Family):
    """Esser et al. 2024; latents, mask and known latents enter as channels, in this order."""

    name = "Stable Diffusion 3 inpainting"
    pipelines = ("StableDiffusion3InpaintPipeline", "StableDiffusion3Pipeline")
    network_class = "SD3Transformer2DModel"
    # The third text encoder may be left out, as Stable Diffusion 3's authors say.
    parts = ("transformer", "vae", "scheduler", "text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    schedulers = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler")
    patch = 2

    def widths(self) -> list[tuple[str, Any, Any]]:
        transformer, pipe = self.network.config, self.pipe
        pooled = pipe.text_encoder.config.projection_dim + pipe.text_encoder_2.config.projection_dim
        words = [] if pipe.text_encoder_3 is None else [pipe.text_encoder_3.config.d_model]
        return [
            ("its transformer's predictions", transformer.out_channels, self.channels),
            ("its pooled texts", pooled, transformer.pooled_projection_dim),
            *(("its text_encoder_3", width, transformer.joint_attention_dim) for width in words),
        ]

    def schedule(self, steps: int, eta: float, shape: tuple[int, int, int]) -> Schedule:
        tokens = shape[1] * shape[2] // self.patch**2
        return flow_schedule(self.pipe.scheduler, steps, eta, tokens, unit=1000.0, from_one=False)

    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        states, _, pooled, _ = self.pipe.encode_prompt(
            words, None, None, device=device, do_classifier_free_guidance=False
        )
        return {"encoder_hidden_states": states, "pooled_projections": pooled}

    def stock_paints(self, sampling: SamplingConfig) -> bool:
        # diffusers 0.42 decodes without adding the shift again.
        return super().stock_paints(sampling) and not self.pipe.vae.config.shift_factor

    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, text: Text, guidance: float
    ) -> Tensor:
        inputs = torch.cat([latents, condition.mask, condition.known], 1)
        return network(inputs, timestep=level.time.expand(len(latents)), **text).sample
