"""Holes in the shape of a checkpoint's segments, by a small Mask2Former with random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.masks.config import MaskConfig
from prefpaint.masks.objects import checkpoint_segments, regions_by_colour
from prefpaint.masks.prompts import make_prompt
from tests.masks.checkpoints import write_classifier, write_mask2former, write_mask2former_without_heads

SEEDS = range(12)


@pytest.fixture(scope="module")
def mask2former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mask2former(tmp_path_factory.mktemp("segments") / "mask2former")


def picture() -> np.ndarray:
    """A red and a blue square on grey; (48, 48, 3) uint8."""
    image = np.full((48, 48, 3), 60, np.uint8)
    image[10:30, 10:30] = (250, 20, 20)
    image[30:, :20] = (20, 20, 240)
    return image


def holes(checkpoint: Path | str, least: float = 0.1, most: float = 0.4) -> list[np.ndarray]:
    config = MaskConfig(segmentation_checkpoint=str(checkpoint), hole=(least, most))
    return [make_prompt(picture(), np.ones((48, 48)), "object", config, seed).mask for seed in SEEDS]


def test_a_checkpoints_segments_are_whole_numbers_of_every_pixel(mask2former: Path) -> None:
    segments = checkpoint_segments(str(mask2former))(picture())
    assert segments.shape == (48, 48) and segments.dtype == np.int64
    assert len(np.unique(segments)) > 2
    np.testing.assert_array_equal(checkpoint_segments(str(mask2former))(picture()), segments)
    # Another shape than the processor's, and not square.
    assert checkpoint_segments(str(mask2former))(picture()[:32]).shape == (32, 48)


def test_holes_are_made_of_the_checkpoints_segments(mask2former: Path) -> None:
    segments = checkpoint_segments(str(mask2former))(picture())
    whole = 0
    for mask in holes(mask2former, 0.05, 0.9):
        assert 0.05 <= mask.mean() <= 0.9
        cut = [number for number in np.unique(segments) if 0 < mask[segments == number].mean() < 1]
        # Where no union of segments has the right size, one of them is cut.
        whole += not cut
    assert whole > len(SEEDS) / 2
    by_colour = holes("", 0.05, 0.9)
    assert any((a != b).any() for a, b in zip(holes(mask2former, 0.05, 0.9), by_colour, strict=True))
    assert len(np.unique(regions_by_colour(picture()))) != len(np.unique(segments))


def test_the_same_seed_opens_the_same_hole(mask2former: Path) -> None:
    for one, other in zip(holes(mask2former), holes(mask2former), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_a_checkpoint_finds_nothing_a_part_of_the_picture_is_removed(tmp_path: Path) -> None:
    checkpoint = write_mask2former(tmp_path / "blind", finds=False)
    assert len(np.unique(checkpoint_segments(str(checkpoint))(picture()))) == 1
    # A pixel more or less.
    assert all(0.1 - 1 / 48**2 <= mask.mean() <= 0.4 + 1 / 48**2 for mask in holes(checkpoint))


def _without_weights(folder: Path) -> Path:
    (write_mask2former(folder) / "model.safetensors").unlink()
    return folder


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: folder, "cannot be loaded"),
        (_without_weights, "cannot be loaded"),
        (write_classifier, "cannot be loaded"),
        (
            write_mask2former_without_heads,
            "is not a Mask2FormerForUniversalSegmentation: it lacks class_predictor.bias and",
        ),
    ],
)
def test_a_checkpoint_that_cannot_segment_is_named_in_one_sentence(
    write: Callable[[Path], Path], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checkpoint = write(tmp_path / "model")
    with pytest.raises(PrefPaintError) as caught:
        holes(checkpoint)
    message = str(caught.value)
    assert message.startswith(f"masks.geometry.segmentation_checkpoint: {checkpoint} {said}")
    assert len(message.splitlines()) == 1
