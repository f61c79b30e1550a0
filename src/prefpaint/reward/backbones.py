"""Image features that the reward head works on."""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig
from prefpaint.reward.efficientnet import efficientnet_layers

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

# Embeddings of incomplete images kept at one time: 8 MB at ViT-B/32 size.
PROMPTS_REMEMBERED = 4096


def _normalise(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


class ContrastBackbone(nn.Module):
    """How the fill differs from its surroundings, seen at several depths of a frozen ImageNet network.

    At each tapped depth and for each channel, with I, K and E the mean |activation| inside the hole, in the
    known part and along the edge: log I − log K, its absolute value, log E − log K, and the log of the step
    between local means on both sides of the edge, compared place by place. In addition, for each depth: how far
    the fill's cells lie from the nearest known cell (as PatchCore measures anomaly, Roth et al. 2022).

    Nothing describes the picture itself: such features let a head memorise which pictures are easy.
    """

    def __init__(self, config: ContrastBackboneConfig) -> None:
        super().__init__()
        self.config = config
        layers = efficientnet_layers(max(config.taps))
        self.stem, self.blocks = layers[0], layers[1:]
        for number, layer in enumerate(layers):
            layer.requires_grad_(number >= round(config.frozen * len(layers)))
        self.trainable = config.frozen < 1
        self.eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        with torch.no_grad():
            self.width = self(torch.zeros(1, 3, 64, 64), torch.ones(1, 1, 64, 64)).shape[1]

    def train(self, mode: bool = True) -> "ContrastBackbone":
        """Stays in evaluation mode: the batch statistics of ImageNet are part of the features."""
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
                    f"reward.backbone.checkpoint: {config.checkpoint} is not a CLIP checkpoint of "
                    f"transformers ({error})"
                ) from error
        self.tower = tower
        self.prompts: OrderedDict[bytes, Tensor] = OrderedDict()
        self.register_load_state_dict_post_hook(lambda module, _: module.prompts.clear())
        self.width = 2 * tower.config.projection_dim
        self.trainable = config.frozen < 1
        if not self.trainable:
            tower.requires_grad_(False)
        layers = tower.vision_model.encoder.layers
        n_frozen = round(config.frozen * len(layers))
        if n_frozen:
            tower.vision_model.embeddings.requires_grad_(False)
            tower.vision_model.pre_layrnorm.requires_grad_(False)
        for layer in layers[:n_frozen]:
            layer.requires_grad_(False)

    def train(self, mode: bool = True) -> "ClipBackbone":
        """As usual; prompts remembered before training are embedded again after it."""
        if mode:
            self.prompts.clear()
        return super().train(mode)

    def forward(self, images: Tensor, holes: Tensor) -> Tensor:
        """Embeddings of candidates and of their prompts.

        A prompt is embedded once for all its candidates in the call, and in evaluation without gradients for
        those of later calls too.

        Args:
            images: (N, 3, H, W) in [0, 1].
            holes: (N, 1, H, W) in {0, 1}.

        Returns:
            (N, 2 · projection width) float32.
        """
        prompts = images * (1 - holes)
        return torch.cat([self._embed(images), self._embed_once(prompts)], 1)

    def _embed_once(self, prompts: Tensor) -> Tensor:
        """`_embed` of images many of which are equal, now or to earlier ones; told apart by their grey levels."""
        fixed = not (self.training or torch.is_grad_enabled())
        pixels = (prompts * 255).round().byte().cpu().contiguous().numpy()
        keys = [blake2b(image.tobytes(), digest_size=16, key=str(image.shape).encode()).digest() for image in pixels]
        rows = {key: row for row, key in enumerate(keys)}
        found = {key: self.prompts[key].to(prompts.device) for key in rows if fixed and key in self.prompts}
        new = {key: row for key, row in rows.items() if key not in found}
        if new:
            found |= zip(new, self._embed(prompts[list(new.values())]), strict=True)
        if fixed:
            for key in rows:
                self.prompts[key] = found[key]
                self.prompts.move_to_end(key)
            while len(self.prompts) > PROMPTS_REMEMBERED:
                self.prompts.popitem(last=False)
        return torch.stack([found[key] for key in keys])

    def _embed(self, images: Tensor) -> Tensor:
        pixels = clip_pixels(images, self.tower.config.image_size)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"):
            return self.tower(pixel_values=pixels).image_embeds.float()


def clip_pixels(images: Tensor, size: int) -> Tensor:
    """Pictures as CLIP takes them: (N, 3, H, W) in [0, 1] → (N, 3, size, size), normalised.

    Those that are not square are squeezed: of the middle alone, as CLIP's own processor takes, holes near the ends
    would be cut off.
    """
    # PIL, which CLIP was trained with, resizes along the rows first, and rounds to grey levels after each pass.
    resized = images
    for shape in ((images.shape[-2], size), (size, size)):
        resized = F.interpolate(resized, shape, mode="bicubic", align_corners=False, antialias=True)
        resized = _as_grey_levels(resized.clamp(0, 1))
    return _normalise(resized, CLIP_MEAN, CLIP_STD)


def _as_grey_levels(values: Tensor) -> Tensor:
    """Values in [0, 1] rounded to multiples of 1 / 255; gradients pass as if nothing was rounded."""
    rounded = (values * 255).round() / 255
    return values + (rounded - values).detach() if values.requires_grad else rounded


# By the `kind` of their configuration. Each has `width`, the number of its features; `trainable`, without which the
# features are computed once for a whole training; and `forward(images, holes)` as above.
BACKBONES: dict[str, Callable[..., Any]] = {"contrast": ContrastBackbone, "clip": ClipBackbone}
