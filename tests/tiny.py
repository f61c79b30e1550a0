"""Small real objects that several tests build on."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefpaint.fills.config import JudgeModelConfig
from prefpaint.fills.likeness import PhotographJudge
from prefpaint.images import ImageFolder, write_image
from prefpaint.reward.config import ContrastBackboneConfig, MLPHeadConfig
from prefpaint.reward.model import RewardModel
from prefpaint.small_model.config import SmallModelConfig
from prefpaint.trust.choice import ChoiceErrors

TINY_MODEL = SmallModelConfig(
    vae_channels=(8, 8, 8),
    latent_channels=4,
    unet_channels=(8, 16),
    unet_attention=(False, True),
    attention_heads=2,
    text_width=8,
)
SIZE = 32


def tiny_reward(seed: int = 0) -> RewardModel:
    """A reward model of the real class that was not trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = MLPHeadConfig(width=16, heads=2, feedforward=16, hidden=16, embedding=8)
        return RewardModel(ContrastBackboneConfig(input_size=64, taps=(0, 1)), head).eval()


def write_tiny_chooser(models: Path) -> None:
    """What the stages `reward` and `bound` leave for choosing among fills, in a project's folder of models."""
    tiny_reward().save_pretrained(models / "reward")
    errors = ChoiceErrors(level=0.9, reward=((2.0,) * 9,) * 2, gain=((0.0,) * 9, (0.5,) * 9))
    (models / "choice_errors.json").write_text(errors.model_dump_json())


def tiny_judge(seed: int = 0) -> PhotographJudge:
    """A judge of the real class that was not trained; it says something else of every picture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        judge = PhotographJudge(JudgeModelConfig(size=SIZE, channels=(8, 8, 8), scale=20.0))
    return judge.eval().requires_grad_(False)


def tiny_prompts(folder: Path, count: int, seed: int = 0) -> tuple[list[str], ImageFolder, ImageFolder]:
    """Prompts of smooth random colour with a square hole, written as PNG files."""
    rng = np.random.default_rng(seed)
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    ids = [f"train_{index:05d}" for index in range(count)]
    ramp = np.linspace(0, 1, SIZE)
    for name in ids:
        a, b, c = rng.uniform(0, 255, (3, 3))
        image = a + (b - a) * ramp[:, None, None] + (c - a) * ramp[None, :, None] + rng.normal(0, 8, (SIZE, SIZE, 3))
        top, left = rng.integers(4, 12, 2)
        mask = np.zeros((SIZE, SIZE), np.uint8)
        mask[top : top + 16, left : left + 16] = 1
        write_image(images.file(name), np.clip(image, 0, 255).astype(np.uint8))
        write_image(masks.file(name), mask)
    return ids, images, masks


def write_tiny_depth(folder: Path, kind: str) -> None:
    """A depth-estimation checkpoint of transformers with random weights: `dpt`, or `depth_anything` on DINOv2."""
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTConfig,
        DPTForDepthEstimation,
        DPTImageProcessorPil,
    )

    torch.manual_seed(0)
    layers: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2}
    neck: dict[str, Any] = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 8}
    if kind == "dpt":
        side, last = 32, "head.4"
        model: Any = DPTForDepthEstimation(
            DPTConfig(
                **layers,
                **neck,
                intermediate_size=16,
                image_size=side,
                patch_size=16,
                backbone_out_indices=[0, 1, 2, 3],
                is_hybrid=False,
            )
        )
    else:
        side, last = 28, "conv3"
        backbone = Dinov2Config(
            **layers, image_size=side, patch_size=14, out_indices=[1, 2, 3, 4], reshape_hidden_states=False
        )
        model = DepthAnythingForDepthEstimation(
            DepthAnythingConfig(
                backbone_config=backbone, **neck, patch_size=14, reassemble_hidden_size=16, head_hidden_size=8
            )
        )
    with torch.no_grad():
        # Its last layer is a ReLU, which a random model would not pass.
        for name, value in model.head.named_parameters():
            value.fill_(1.0) if name == f"{last}.bias" else value.mul_(50)
    model.save_pretrained(folder)
    DPTImageProcessorPil(size={"height": side, "width": side}).save_pretrained(folder)
