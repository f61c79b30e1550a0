"""Depth from a disparity map, from a guess, from a checkpoint, and as a 16-bit image."""

from pathlib import Path

import numpy as np
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.masks.depth import checkpoint_depth, decode_depth, depth_from_disparity, encode_depth, pseudo_depth
from tests.tiny import write_tiny_depth


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


@pytest.mark.parametrize("kind", ["dpt", "depth_anything"])
def test_a_depth_checkpoint_of_transformers(kind: str, tmp_path: Path) -> None:
    write_tiny_depth(tmp_path, kind)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    depth = checkpoint_depth(str(tmp_path))(image)
    assert depth.shape == (40, 60)
    assert depth.min() == pytest.approx(1.0, rel=1e-3) and depth.max() == pytest.approx(4.0, rel=1e-3)
    np.testing.assert_array_equal(checkpoint_depth(str(tmp_path))(image), depth)


def test_half_a_checkpoint_and_what_is_not_finite_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_tiny_depth(tmp_path, "dpt")
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file(weights | {"head.head.4.bias": weights["head.head.4.bias"] * float("nan")}, file, {"format": "pt"})
    with pytest.raises(PrefPaintError, match=r"depth_checkpoint: .* gives depth that is not finite"):
        checkpoint_depth(str(tmp_path))(np.zeros((40, 60, 3), np.uint8))
    save_file({name: one for name, one in weights.items() if "head.4" not in name}, file, {"format": "pt"})
    with pytest.raises(PrefPaintError, match=r"depth_checkpoint: .* is not a DPTForDepthEstimation: it lacks"):
        checkpoint_depth(str(tmp_path))


def test_a_folder_without_a_depth_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"masks\.geometry\.depth_checkpoint"):
        checkpoint_depth(str(tmp_path))
