"""Pretraining: it learns, it resumes to the same weights, and it reads train pixels only."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.inpainting import pretraining
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import PretrainConfig
from prefpaint.inpainting.pretraining import TrainingRegion, draw_example, pretrain
from prefpaint.photographs.crops import Box
from tests.tiny import SIZE, TINY_MODEL

CONFIG = PretrainConfig(
    model=TINY_MODEL,
    crop_side=(32, 48),
    vae_steps=6,
    vae_batch=4,
    unet_steps=6,
    unet_batch=8,
    pool=128,
    checkpoint_every=2,
    threads=1,
)


@pytest.fixture
def regions() -> list[TrainingRegion]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    return [TrainingRegion(image, np.ones((80, 100), np.float32), Box(0, 0, 60, 80))]


def test_only_the_region_is_read(regions: list[TrainingRegion]) -> None:
    region = regions[0]
    other = region.image.copy()
    other[:, 60:] = 0
    changed = [TrainingRegion(other, region.depth, region.box)]
    for seed in range(20):
        for a, b in zip(
            draw_example(regions, SIZE, CONFIG, seed), draw_example(changed, SIZE, CONFIG, seed), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_a_killed_run_ends_in_the_same_weights(
    regions: list[TrainingRegion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(regions, SIZE, CONFIG, tmp_path / "whole")

    saves = 0
    save = pretraining.save_state

    def dies(state: dict[str, object], path: Path) -> None:
        nonlocal saves
        save(state, path)
        saves += 1
        if saves in (2, 5):
            raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, "save_state", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain(regions, SIZE, CONFIG, tmp_path / "killed")
    resumed = pretrain(regions, SIZE, CONFIG, tmp_path / "killed")
    for part in ("vae", "unet"):
        assert module_digest(getattr(resumed, part)) == module_digest(getattr(whole, part))


def test_the_autoencoder_learns(regions: list[TrainingRegion], tmp_path: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 100, dtype=np.uint8)[None, :, None], (80, 1, 3))
    easy = [TrainingRegion(smooth, regions[0].depth, regions[0].box)]
    few = pretrain(easy, SIZE, CONFIG.model_copy(update={"vae_steps": 1, "unet_steps": 1}), tmp_path / "few")
    many = pretrain(easy, SIZE, CONFIG.model_copy(update={"vae_steps": 60, "unet_steps": 1}), tmp_path / "many")
    images = pretraining.to_tensor(np.stack([draw_example(easy, SIZE, CONFIG, seed)[0] for seed in range(8)]))

    def error(pipe: object) -> float:
        vae = pipe.vae  # type: ignore[attr-defined]
        with torch.no_grad():
            return float((vae.decode(vae.encode(images).latent_dist.mode()).sample - images).square().mean())

    assert error(many) < 0.5 * error(few)


def test_digest_sees_every_weight() -> None:
    layer = torch.nn.Linear(3, 2)
    before = module_digest(layer)
    with torch.no_grad():
        layer.bias[1] += 1e-7
    assert module_digest(layer) != before
