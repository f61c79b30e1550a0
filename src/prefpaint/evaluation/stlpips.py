"""Shift-tolerant LPIPS: how unlike two pictures look, as an outside judge of fills beside their hidden originals.

A. Ghildyal and F. Liu, Shift-tolerant Perceptual Similarity Metric, ECCV 2022 (arXiv 2207.13686). Features of AlexNet
or VGG16, made tolerant of small shifts, are compared at five depths; linear heads weigh their differences as people
judged pairs of distorted pictures. Nothing in this project is trained, chosen or tuned by it.

The weights come from the authors' package stlpips-pytorch. Its code needs torchvision, so only its files are read.
"""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.distributed import device
from prefpaint.errors import PrefPaintError

Net = Literal["alex", "vgg"]
NETS: tuple[Net, ...] = get_args(Net)
# Channels at the five depths.
WIDTHS: dict[Net, tuple[int, ...]] = {"alex": (64, 192, 384, 256, 256), "vgg": (64, 128, 256, 512, 512)}
PACKAGE, DISTRIBUTION = "stlpips_pytorch", "stlpips-pytorch"
# For smaller pictures, the features at some depth are no wider than the border that is reflected.
SMALLEST_SIDE: dict[Net, int] = {"alex": 21, "vgg": 18}
# Looked at together, beside their originals: 128 pictures of 64 px, two of 512 px. VGG16 then takes about 1 GB; fewer
# would mean looking at the original of a large picture each time.
PIXELS_AT_ONCE = 2**19


class _Blur(nn.Module):
    """Binomial filter of 3 × 3 and every second pixel, after reflecting two pixels at each edge."""

    filt: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("filt", torch.zeros(channels, 1, 3, 3))

    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(F.pad(values, (2, 2, 2, 2), "reflect"), self.filt, stride=2, groups=len(self.filt))


def _alex() -> list[list[nn.Module]]:
    return [
        [nn.Conv2d(3, 64, 11, padding=2), _Blur(64), nn.ReLU()],
        [nn.MaxPool2d(3, 1), _Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()],
        [nn.MaxPool2d(3, 1), _Blur(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()],
        [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()],
    ]


def _vgg() -> list[list[nn.Module]]:
    stages: list[list[nn.Module]] = []
    for widths in ((3, 64, 64), (64, 128, 128), (128, *[256] * 3), (256, *[512] * 3), (512, *[512] * 3)):
        layers: list[nn.Module] = [nn.MaxPool2d(2, 1), _Blur(widths[0])] if stages else []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        stages.append(layers)
    return stages


def _published_weights(net: Net) -> tuple[Path, dict[str, Tensor]]:
    """The file of the installed package and what it holds."""
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise PrefPaintError(f"{DISTRIBUTION} is not installed; run `pip install --no-deps {DISTRIBUTION}`")
    file = Path(found.submodule_search_locations[0]) / f"weights/vST0.0/{net}_shift_tolerant.pth"
    try:
        return file, torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage read as a pickle raises anything
        state = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise PrefPaintError(
            f"{file}: {state}; run `pip install --no-deps --force-reinstall {DISTRIBUTION}`"
        ) from error


class ShiftTolerantLPIPS(nn.Module):
    """Distance between pictures; the published weights, in evaluation mode on the CPU.

    At five depths the activations of each place are scaled to length 1; the squared differences of two pictures are
    weighed channel by channel, averaged over the picture and added up. A picture is taken as large as it is: the
    distance of a small picture is not that of the same picture enlarged.

    Args:
        net: alex, 10 MB, the authors' default, or vgg, 59 MB.

    Raises:
        PrefPaintError: the package stlpips-pytorch is not installed, or its file is missing, damaged or wrong.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.smallest = SMALLEST_SIDE[net]
        file, published = _published_weights(net)
        self.stages, number = nn.ModuleList(), 0
        # A layer is published under its stage and its number in the whole network.
        names = {"scaling_layer.shift": "shift", "scaling_layer.scale": "scale"}
        for depth, layers in enumerate(_alex() if net == "alex" else _vgg()):
            self.stages.append(nn.Sequential(*layers))
            for place, layer in enumerate(layers):
                for part in layer.state_dict():
                    names[f"net.slice{depth + 1}.{number}.{part}"] = f"stages.{depth}.{place}.{part}"
                number += 1
            names[f"lin{depth}.model.1.weight"] = f"heads.{depth}"
        self.heads = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in WIDTHS[net])
        for name in ("shift", "scale"):
            self.register_buffer(name, torch.zeros(1, 3, 1, 1))
        try:
            self.load_state_dict({names[key]: value for key, value in published.items()})
        except (KeyError, RuntimeError) as error:
            raise PrefPaintError(
                f"{file}: does not hold the weights of version 0.0.2 of {DISTRIBUTION}; install that version"
            ) from error
        self.eval().requires_grad_(False)

    def forward(self, pictures: Tensor, originals: Tensor) -> Tensor:
        """Distances of N pictures to their originals.

        Args:
            pictures: (N, 3, H, W) in [-1, 1].
            originals: (N, 3, H, W), or (1, 3, H, W) for one that is the original of all.

        Returns:
            (N,), at least 0.
        """
        count, total = len(pictures), pictures.new_zeros(len(pictures))
        values = (torch.cat([pictures, originals]) - self.shift) / self.scale
        for stage, head in zip(self.stages, self.heads, strict=True):
            values = stage(values)
            unit = values / (values.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total = total + ((unit[:count] - unit[count:]).square() * head).sum(1).mean((1, 2))
        return total

    @torch.no_grad()
    def distance(self, images: np.ndarray, originals: np.ndarray) -> np.ndarray:
        """How unlike their originals pictures look.

        Args:
            images: (N, H, W, 3) uint8.
            originals: (N, H, W, 3) uint8, or (1, H, W, 3) for one that is the original of all, which costs less.

        Returns:
            (N,) float64, at least 0; 0 for the original itself. NaN where a side is shorter than 21 px (alex) or 18 px
            (vgg): the network cannot look at so small a picture.
        """
        height, width = images.shape[1:3]
        if min(height, width) < self.smallest:
            return np.full(len(images), np.nan)
        size, place = max(1, PIXELS_AT_ONCE // (height * width)), self.shift.device
        found = [np.zeros(0)]
        for start in range(0, len(images), size):
            part = slice(start, start + size)
            pair = (images[part], originals if len(originals) == 1 else originals[part])
            pixels = [torch.tensor(one, device=place).permute(0, 3, 1, 2).float() / 127.5 - 1 for one in pair]
            found.append(self(*pixels).double().cpu().numpy())
        return np.concatenate(found)


def outside_judges() -> dict[str, ShiftTolerantLPIPS]:
    """Both networks, on the GPU where there is one, by the column of their distances: stlpips_alex and stlpips_vgg.

    Raises:
        PrefPaintError: the package stlpips-pytorch is not installed, or its files are missing or damaged.
    """
    return {f"stlpips_{net}": ShiftTolerantLPIPS(net).to(device()) for net in NETS}
