"""Stable Diffusion 1.5 and 2: a UNet of nine channels that predicts noise or velocity."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from prefpaint.inpainting.chain import Levels, Schedule, ddim_schedule, ddim_steps_the_same
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.family import ATTENTION, Condition, Family, Text

# Those of diffusers whose betas are all that the network was trained with. Their solvers are replaced by DDIM's.
WITH_BETAS = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDPMScheduler",
    "DDPMParallelScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "SASolverScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
)
# Further inputs that a UNet of diffusers can have; one without them paints something else.
FURTHER_INPUTS = ("class_embed_type", "num_class_embeds", "encoder_hid_dim_type", "time_cond_proj_dim")


class StableDiffusion(Family):
    """Rombach et al. 2022; latents, mask and known latents enter as channels, in this order."""

    name = "Stable Diffusion inpainting"
    pipelines = ("StableDiffusionInpaintPipeline", "StableDiffusionPipeline")
    network_name = "unet"
    network_class = "UNet2DConditionModel"
    sized = "unet"
    parts: ClassVar[tuple[str, ...]] = ("unet", "vae", "scheduler", "text_encoder", "tokenizer")
    schedulers = WITH_BETAS
    shifts = False
    # What diffusers calls the further input of Stable Diffusion XL's UNet.
    added: ClassVar[str | None] = None
    lora_targets = ATTENTION
    tune: ClassVar[Literal["full", "lora"]] = "full"

    def check(self) -> None:
        super().check()
        unet = self.network.config
        if unet.addition_embed_type != self.added:
            raise self.refusal(f"has a unet with {unet.addition_embed_type} as addition_embed_type", self._whole)
        further = [name for name in FURTHER_INPUTS if unet.get(name) is not None]
        if further:
            raise self.refusal(f"has a unet with {further[0]}, which nothing is given for", "give another checkpoint")
        self._check_noise()

    def _check_noise(self) -> None:
        """Raise for a noise schedule that the chain cannot follow."""
        config, advice = self.pipe.scheduler.config, "correct its scheduler/scheduler_config.json"
        prediction = config.prediction_type
        if config.get("use_flow_sigmas") or prediction not in ("epsilon", "v_prediction", "sample"):
            kind = "flow matching" if config.get("use_flow_sigmas") else repr(prediction)
            raise self.refusal(f"has a scheduler for {kind}, which is not how a UNet of it predicts", advice)
        kept = self.pipe.scheduler.alphas_cumprod
        if not bool(((kept >= 0) & (kept <= 1)).all()) or bool((kept.diff() > 0).any()):
            raise self.refusal("has betas outside 0 to 1", advice)
        if prediction == "epsilon" and (config.get("rescale_betas_zero_snr") or float(kept.min()) == 0):
            raise self.refusal(
                "predicts noise (epsilon) under zero terminal SNR, where the picture is divided by zero and fills are "
                "black",
                "set prediction_type, or rescale_betas_zero_snr: false, in scheduler/scheduler_config.json as it was "
                "trained",
            )

    def widths(self) -> list[tuple[str, Any, Any]]:
        unet = self.network.config
        # One number, or one for each block.
        seen = unet.cross_attention_dim
        return [
            ("its unet's predictions", unet.out_channels, self.channels),
            *(("its texts", self._text_width(), width) for width in ([seen] if isinstance(seen, int) else seen)),
        ]

    def _text_width(self) -> int:
        return int(self.pipe.text_encoder.config.hidden_size)

    def schedule(self, steps: int, eta: float, shape: tuple[int, int, int]) -> Schedule:
        return ddim_schedule(self.pipe.scheduler, steps, eta)

    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        states, _ = self.pipe.encode_prompt(words, device, 1, do_classifier_free_guidance=False)
        return {"encoder_hidden_states": states}

    def stock_paints(self, sampling: SamplingConfig) -> bool:
        # The stock class refuses UNets of other latents.
        return self.channels == 4 and ddim_steps_the_same(self.pipe.scheduler, sampling.steps)

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
