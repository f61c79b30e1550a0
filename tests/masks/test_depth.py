"""Depth from a disparity map, from a guess, from a checkpoint, and as a 16-bit image."""

from pathlib import Path

import numpy as np
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.masks.depth import checkpoint_depth, decode_depth, depth_from_disparity, encode_depth, pseudo_depth


def test_depth_from_disparity_by_hand() -> None:
    disparity = np.array([[4.0, 2.0], [np.nan, 1.0]])
    depth = depth_from_disparity(disparity)
    assert depth[0].tolist() == [1.0, 2.0] and depth[1, 1] == 4.0
    assert depth[1, 0] in (1.0, 4.0), "unknown: as one of its nearest neighbours"
    with pytest.raises(PrefPaintError, match="no known value"):
        depth_from_disparity(np.full((2, 2), np.nan))


def test_pseudo_depth_recedes_upwards_and_stays_in_its_range() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    depth = pseudo_depth(image)
    assert depth.shape == (40, 60) and depth.min() > 0.7 and depth.max() <= 2.0
    assert depth[0].mean() > depth[-1].mean()


def test_depth_survives_16_bits() -> None:
    depth = np.random.default_rng(0).uniform(3.0, 30.0, (20, 20))
    restored = decode_depth(encode_depth(depth)) * depth.min()
    np.testing.assert_allclose(restored, depth, rtol=1e-4)


def test_a_depth_checkpoint_of_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessorPil

    config = DPTConfig(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        is_hybrid=False,
    )
    model = DPTForDepthEstimation(config)
    with torch.no_grad():
        # Its last layer is a ReLU, which a random model would not pass.
        for name, value in model.head.named_parameters():
            value.fill_(1.0) if name == "head.4.bias" else value.mul_(50)
    model.save_pretrained(tmp_path)
    DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    depth = checkpoint_depth(str(tmp_path))(image)
    assert depth.shape == (40, 60)
    assert depth.min() == pytest.approx(1.0, rel=1e-3) and depth.max() == pytest.approx(4.0, rel=1e-3)


def test_a_folder_without_a_depth_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"masks\.geometry\.depth_checkpoint"):
        checkpoint_depth(str(tmp_path))
