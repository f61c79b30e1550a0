"""Stable Diffusion XL: a larger UNet, two text encoders, and the pictures' sizes as an input."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from prefpaint.inpainting.families.family import Text
from prefpaint.inpainting.families.stable_diffusion import StableDiffusion

# What the stock pipeline says of wanted and of unwanted pictures to checkpoints that ask for their beauty.
AESTHETIC_SCORE, NEGATIVE_AESTHETIC_SCORE = 6.0, 2.5


class StableDiffusionXL(StableDiffusion):
    """Podell et al. 2023."""

    name = "Stable Diffusion XL inpainting"
    pipelines = ("StableDiffusionXLInpaintPipeline", "StableDiffusionXLPipeline")
    tune = "lora"
    parts: ClassVar[tuple[str, ...]] = (*StableDiffusion.parts, "text_encoder_2", "tokenizer_2")
    added = "text_time"

    def widths(self) -> list[tuple[str, Any, Any]]:
        unet, pooled = self.network.config, self.pipe.text_encoder_2.config.projection_dim
        numbers = 5 if self.pipe.config.requires_aesthetics_score else 6
        added = numbers * (unet.addition_time_embed_dim or 0) + pooled
        return [*super().widths(), ("texts and sizes", added, unet.projection_class_embeddings_input_dim)]

    def _text_width(self) -> int:
        return super()._text_width() + int(self.pipe.text_encoder_2.config.hidden_size)

    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        states, _, pooled, _ = self.pipe.encode_prompt(words, device=device, do_classifier_free_guidance=False)
        text = {"encoder_hidden_states": states, "text_embeds": pooled}
        if self.pipe.config.requires_aesthetics_score:
            text["score"] = torch.full((1, 1), NEGATIVE_AESTHETIC_SCORE if negative else AESTHETIC_SCORE, device=device)
        return text

    def arguments(self, text: Text, latents: Tensor) -> dict[str, Any]:
        # Filled on the device: a list of numbers would be copied there in every step.
        size = torch.cat([latents.new_full((len(latents), 1), self.factor * side) for side in latents.shape[-2:]], 1)
        # Original size, corner of the crop, and score or size of the result.
        ids = torch.cat([size, torch.zeros_like(size), text.get("score", size)], 1)
        added = {"text_embeds": text["text_embeds"], "time_ids": ids}
        return {"encoder_hidden_states": text["encoder_hidden_states"], "added_cond_kwargs": added}
