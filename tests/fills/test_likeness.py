"""The judge's network: what it reads, what it keeps, and what it says of broken files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.errors import PrefPaintError
from prefpaint.fills import likeness, spoiled
from prefpaint.fills.likeness import PhotographJudge
from tests.tiny import SIZE, tiny_judge


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    masks = np.zeros((5, SIZE, SIZE), np.uint8)
    masks[:, 8:24, 4:20] = 1
    return rng.integers(0, 256, (5, SIZE, SIZE, 3)).astype(np.uint8), masks


def test_likeness_does_not_depend_on_the_batch(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    judge = tiny_judge()
    whole = judge.likeness(images, masks)
    single = [judge.likeness(images[i : i + 1], masks[i : i + 1])[0] for i in range(5)]
    # float32 sums of another order.
    np.testing.assert_allclose(whole, single, rtol=1e-4, atol=1e-4)
    assert judge.likeness(images[:0], masks[:0]).shape == (0,)


def test_the_hole_is_seen(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    assert (tiny_judge().likeness(images, masks) != tiny_judge().likeness(images, masks[:, :, ::-1])).all()


def test_the_mirrored_fill_is_the_one_that_differs_nowhere(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    holes = torch.from_numpy(masks)[:, None].float()
    mirrored = np.stack([spoiled.mirrored(*one) for one in zip(images, masks, strict=True)])
    first, second = (torch.from_numpy(part).permute(0, 3, 1, 2).float() for part in (images, mirrored))
    torch.testing.assert_close(likeness.mirrored(first, holes), second, rtol=0, atol=0)
    torch.testing.assert_close(likeness.mirrored(second, holes), second, rtol=0, atol=0)


def test_pictures_without_a_hole_or_without_a_known_part_are_judged(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    for same in (np.zeros_like(masks), np.ones_like(masks)):
        assert np.isfinite(tiny_judge().likeness(images, same)).all()


def test_other_sizes_are_resized(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    plain = np.full_like(pictures[0], 90)
    images, masks = (np.repeat(np.repeat(part, 2, 1), 2, 2) for part in (plain, pictures[1]))
    # float32, times the scale of 20.
    np.testing.assert_allclose(
        tiny_judge().likeness(images, masks), tiny_judge().likeness(plain, pictures[1]), atol=1e-3
    )


def test_saved_and_read_again(tmp_path: Path, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    judge = tiny_judge()
    judge.save_pretrained(tmp_path)
    again = PhotographJudge.from_pretrained(tmp_path)
    assert again.config == judge.config and not again.training
    # Weights are kept in half precision; `scale` is 20.
    np.testing.assert_allclose(again.likeness(*pictures), judge.likeness(*pictures), atol=0.1)
    assert again.digest() == PhotographJudge.from_pretrained(tmp_path).digest() != judge.digest()


@pytest.mark.parametrize("fault", ["no folder", "no weights", "cut off", "other sizes"])
def test_a_broken_judge_is_one_sentence(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "judge"
    if fault != "no folder":
        tiny_judge().save_pretrained(folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if fault == "no weights":
        weights.unlink()
    elif fault == "cut off":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif fault == "other sizes":
        config.write_text(config.read_text().replace("8,", "16,", 1))
    with pytest.raises(PrefPaintError, match=r"judge: cannot be read as a judge .*kedro run --pipeline=judge"):
        PhotographJudge.from_pretrained(folder)


def test_gradients_reach_every_weight(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    judge = tiny_judge().requires_grad_(True)
    pixels = torch.from_numpy(pictures[0]).permute(0, 3, 1, 2).float() / 255
    judge.logit(pixels, torch.from_numpy(pictures[1])[:, None].float()).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in judge.parameters())
