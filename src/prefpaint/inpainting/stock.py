"""Inpainting checkpoints of other classes than Stable Diffusion's, sampled by diffusers' own call."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from PIL import Image

from prefpaint import distributed
from prefpaint.errors import within_memory
from prefpaint.inpainting.checkpoint import check_inpainting
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, in_batches, paste_known


class StockInpainter:
    """A pipeline such as `StableDiffusionXLInpaintPipeline`, with its own scheduler and defaults.

    Steps, guidance and text prompts are the configured ones; eta is the pipeline's own.

    Args:
        pipe: a diffusers inpainting pipeline whose UNet is told what is known.
        config: chain length, guidance, text prompts, batch, precision.
        device: torch device; "auto" takes CUDA where there is one, and in several processes each its own.

    Attributes:
        original: the pipeline.

    Raises:
        PrefPaintError: the UNet is not an inpainting UNet.
    """

    def __init__(self, pipe: Any, config: SamplingConfig, device: str = "auto") -> None:
        check_inpainting(pipe)
        self.original, self.config = pipe, config
        pipe.to(
            distributed.device() if device == "auto" else torch.device(device),
            torch.bfloat16 if config.precision == "bf16" else torch.float32,
            silence_dtype_warnings=True,
        )
        pipe.set_progress_bar_config(disable=True)

    def sample(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """Inpaint N prompts of the model's size; see `Inpainter.sample`."""
        with within_memory(f"lower sampling.batch (now {self.config.batch})"):
            return in_batches(self._paint, images, masks, seeds, self.config.batch)

    def _paint(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        # What lies in the hole must not be seen, whatever the pipeline does with the pixels under the mask.
        blind = np.where(masks[..., None] > 0, np.uint8(128), images)
        found = self.original(
            prompt=[self.config.text_prompt] * len(images),
            negative_prompt=[self.config.negative_text_prompt] * len(images),
            image=[Image.fromarray(image) for image in blind],
            mask_image=[Image.fromarray(255 * mask) for mask in masks],
            height=images.shape[1],
            width=images.shape[2],
            strength=1.0,
            num_inference_steps=self.config.steps,
            guidance_scale=self.config.guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="np",
        ).images
        return paste_known(np.rint(255 * np.clip(found, 0, 1)).astype(np.uint8), images, masks)


def make_inpainter(pipe: Any, config: SamplingConfig, device: str = "auto") -> Inpainter | StockInpainter:
    """What samples a pipeline: our chain for Stable Diffusion's class, diffusers' own call for any other."""
    ours = isinstance(pipe, StableDiffusionInpaintPipeline)
    return Inpainter(pipe, config, device) if ours else StockInpainter(pipe, config, device)
