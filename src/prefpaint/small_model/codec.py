"""What the autoencoder is trained for: pixels that are right, look right, and are as textured as the photograph."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.small_model.config import CodecConfig

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Blocks whose output is compared: strides 2, 4 and 8.
TAPS = (1, 3, 5)
# About two grey levels of difference between neighbours, in [-1, 1]: below it nobody sees texture.
ENERGY_FLOOR = 3 * (4 / 255) ** 2
ENERGY_WINDOW = 8


class PerceptualDistance(nn.Module):
    """Distance between features of EfficientNet-lite0, each place's features brought to length 1 (as in LPIPS).

    LPIPS itself, or any network whose heads were fitted to people's choices, is the outside judge's business and is
    kept out of training.
    """

    def __init__(self) -> None:
        super().__init__()
        from prefpaint.reward.efficientnet import efficientnet_layers

        self.layers = efficientnet_layers(max(TAPS)).requires_grad_(False).eval()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, originals: Tensor) -> Tensor:
        """Mean squared distance over places and depths; a scalar.

        Args:
            images, originals: (N, 3, H, W) in [-1, 1].
        """
        mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
        values = ((torch.cat([images, originals]) + 1) / 2 - mean) / std
        total = images.new_zeros(())
        for depth, layer in enumerate(self.layers):
            values = layer(values)
            if depth in TAPS:
                a, b = F.normalize(values, dim=1).chunk(2)
                total = total + (a - b).square().sum(1).mean()
        return total / len(TAPS)


def texture_energy(images: Tensor) -> Tensor:
    """Log mean squared difference of neighbours, in windows of 8 px.

    Args:
        images: (N, 3, H, W) in [-1, 1].

    Returns:
        (N, 1, H // 8, W // 8).
    """
    across = (images[..., :-1, 1:] - images[..., :-1, :-1]).square().sum(1, keepdim=True)
    down = (images[..., 1:, :-1] - images[..., :-1, :-1]).square().sum(1, keepdim=True)
    energy = F.pad((across + down) / 2, (0, 1, 0, 1), mode="replicate")
    return torch.log(F.avg_pool2d(energy, ENERGY_WINDOW) + ENERGY_FLOOR)


class CodecLoss(nn.Module):
    """Squared and absolute error, colours of 8 px squares, perceptual distance, and difference of texture energy."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.perceptual = PerceptualDistance()

    def forward(self, restored: Tensor, images: Tensor) -> Tensor:
        """Both (N, 3, H, W) in [-1, 1] → scalar."""
        error = restored - images
        grain = (texture_energy(restored) - texture_energy(images)).abs().mean()
        return (
            error.square().mean()
            + 0.2 * error.abs().mean()
            # Wrong colours of whole areas cost few dB and are seen first.
            + 0.5 * F.avg_pool2d(error, ENERGY_WINDOW).abs().mean()
            + self.config.perceptual * self.perceptual(restored, images)
            + self.config.energy * grain
        )
