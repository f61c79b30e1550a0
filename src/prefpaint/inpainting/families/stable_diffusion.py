"""Stable Diffusion 1.5 and 2: a UNet of nine channels that predicts noise or velocity."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefpaint.inpainting.chain import Levels, Schedule, ddim_schedule
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.family import ATTENTION, Condition, Family, Text


class StableDiffusion(Family):
    """Rombach et al. 2022; latents, mask and known latents enter as channels, in this order."""

    name = "Stable Diffusion inpainting"
    pipelines = ("StableDiffusionInpaintPipeline", "StableDiffusionPipeline")
    network_name = "unet"
    lora_targets = ATTENTION
    tune: ClassVar[Literal["full", "lora"]] = "full"

    def schedule(self, steps: int, eta: float, shape: tuple[int, int, int]) -> Schedule:
        return ddim_schedule(self.pipe.scheduler, steps, eta)

    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        states, _ = self.pipe.encode_prompt(words, device, 1, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": states}

    def stock_paints(self, sampling: SamplingConfig) -> bool:
        # The stock class refuses UNets of other latents.
        return self.channels == 4

    def stock_call(self, sampling: SamplingConfig) -> dict[str, Any] | None:
        call = super().stock_call(sampling)
        return None if call is None else {**call, "eta": sampling.eta}

    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, text: Text, guidance: float
    ) -> Tensor:
        inputs = torch.cat([latents, condition.mask, condition.known], 1)
        return network(inputs, level.time, **self.arguments(text, latents)).sample

    def arguments(self, text: Text, latents: Tensor) -> dict[str, Any]:
        """What the UNet takes besides channels and time."""
        return dict(text)
