"""Pretraining: it learns, it resumes to the same weights, and its examples are what they should be."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import module_digest, save_pipeline
from prefpaint.small_model import fit
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.small_model.codec import CodecLoss, texture_energy
from prefpaint.small_model.config import CodecConfig, PretrainConfig, UNetConfig
from prefpaint.small_model.examples import Examples, load_photographs, to_tensor
from prefpaint.small_model.pretrain import pretrain, velocity_loss
from tests.tiny import SIZE, TINY_MODEL

CONFIG = PretrainConfig(
    model=TINY_MODEL,
    size=SIZE,
    codec=CodecConfig(steps=6, batch=4, warm_up=1),
    unet=UNetConfig(steps=6, batch=8, pool=128, warm_up=1),
    checkpoint_every=2,
    threads=1,
)


@pytest.fixture
def photographs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (80, 100, 3), dtype=np.uint8), rng.integers(0, 256, (64, 48, 3), dtype=np.uint8)]


@pytest.fixture(autouse=True)
def few_warps(monkeypatch: pytest.MonkeyPatch) -> None:
    """The holes of changed views, opened anew by each run, would take nearly all the time."""
    monkeypatch.setattr(Examples, "of", partial(Examples.of, warps=16))


def weights(pipe: object) -> list[str]:
    return [module_digest(getattr(pipe, part)) for part in ("vae", "unet")]


def test_a_killed_run_ends_in_the_same_weights(
    photographs: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain(photographs, CONFIG, tmp_path / "whole")

    saves = 0
    save = fit.save_state

    def dies(state: dict[str, object], path: Path) -> None:
        nonlocal saves
        save(state, path)
        saves += 1
        if saves in (2, 5):
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "save_state", dies)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            pretrain(photographs, CONFIG, tmp_path / "killed")
    assert weights(pretrain(photographs, CONFIG, tmp_path / "killed")) == weights(whole)


def test_more_unet_steps_prolong_a_run(photographs: list[np.ndarray], tmp_path: Path) -> None:
    pretrain(photographs, CONFIG, tmp_path)
    longer = CONFIG.model_copy(update={"unet": CONFIG.unet.model_copy(update={"steps": 8})})
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("codec_*")}
    pretrain(photographs, longer, tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("codec_*")} == before
    (state,) = tmp_path.glob("unet_*")
    assert torch.load(state, weights_only=True)["step"] == 8


def test_the_autoencoder_learns(tmp_path: Path) -> None:
    smooth = [np.tile(np.linspace(0, 255, 100, dtype=np.uint8)[None, :, None], (80, 1, 3))]

    def error(steps: int) -> float:
        codec = CONFIG.codec.model_copy(update={"steps": steps})
        unet = CONFIG.unet.model_copy(update={"steps": 1})
        pipe = pretrain(smooth, CONFIG.model_copy(update={"codec": codec, "unet": unet}), tmp_path / str(steps))
        images = Examples.of(smooth, CONFIG, warps=1).batch(range(8))[0]
        with torch.no_grad():
            return float((pipe.vae.decode(pipe.vae.encode(images).latent_dist.mode()).sample - images).square().mean())

    assert error(60) < 0.5 * error(1)


def test_examples_are_crops_and_holes_of_every_kind(photographs: list[np.ndarray]) -> None:
    examples = Examples.of(photographs, CONFIG, warps=8)
    images, holes = examples.batch(range(64))
    assert images.shape == (64, 3, SIZE, SIZE) and holes.shape == (64, 1, SIZE, SIZE)
    assert -1 <= images.min() < -0.9 and 0.9 < images.max() <= 1
    assert set(holes.unique().tolist()) == {0.0, 1.0}
    again = examples.batch([5])
    torch.testing.assert_close(again[0][0], images[5], rtol=0, atol=0)
    full_rows, full_columns = ((1 - holes).mean(dim).amax(-1) == 1 for dim in (2, 3))
    assert full_rows.any() and full_columns.any(), "strips lie both ways"


def test_without_photographs_the_command_that_makes_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"kedro photographs download .*pretraining"):
        load_photographs(tmp_path / "pretraining/train")


def test_texture_energy_by_hand() -> None:
    """Columns that alternate by 0.2 in each of three channels: 3 · 0.2² / 2 over the width, nothing over the height."""
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::2] = 0.2
    expected = np.log(3 * 0.2**2 / 2 + 3 * (4 / 255) ** 2)
    np.testing.assert_allclose(texture_energy(stripes).numpy(), expected, rtol=1e-4)


def test_a_perfect_copy_costs_nothing_and_blur_does() -> None:
    images = to_tensor(np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8))
    loss = CodecLoss(CodecConfig())
    assert float(loss(images, images)) == pytest.approx(0, abs=1e-6)
    assert float(loss(torch.nn.functional.avg_pool2d(images, 3, 1, 1), images)) > 0.1


def test_zero_terminal_snr_and_two_texts() -> None:
    pipe = build_small_pipeline(TINY_MODEL, SIZE, 0)
    assert float(pipe.scheduler.alphas_cumprod[-1]) == 0.0
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    clean = torch.randn(2, 4, 8, 8)
    # At the last timestep the velocity is the clean latent with its sign turned: the network regresses the mean.
    velocity = pipe.scheduler.get_velocity(clean, torch.randn_like(clean), torch.tensor([999, 999]))
    torch.testing.assert_close(velocity, -clean)


def test_unknown_crops_are_shown_another_known_part() -> None:
    pipe = build_small_pipeline(TINY_MODEL, SIZE, 0)
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, inputs: torch.Tensor, times: torch.Tensor, texts: torch.Tensor) -> object:
            seen.append((inputs, texts))
            return pipe.unet(inputs, times, texts)

    clean, hole = torch.randn(64, 4, 8, 8), torch.ones(64, 1, 8, 8)
    known = torch.arange(64.0).reshape(64, 1, 1, 1).expand(64, 4, 8, 8)
    velocity_loss(pipe, Spy(), (clean, known, hole), UNetConfig(unknown=0.5), seed=0)
    inputs, texts = seen[0]
    other = inputs[:, 5, 0, 0] != torch.arange(64)
    assert 16 < int(other.sum()) < 48
    assert (texts[other] == texts[other][0]).all() and (texts[~other] == texts[~other][0]).all()
    assert (texts[other][0] != texts[~other][0]).any()


def test_training_continues_from_an_earlier_checkpoint(photographs: list[np.ndarray], tmp_path: Path) -> None:
    first = pretrain(photographs, CONFIG, tmp_path / "first")
    save_pipeline(first, tmp_path / "base")
    kept = CONFIG.codec.model_copy(update={"steps": 0})
    further = CONFIG.model_copy(update={"start_from": tmp_path / "base", "codec": kept})
    second = pretrain(photographs, further, tmp_path / "second")
    assert module_digest(second.vae) == module_digest(first.vae), "the autoencoder is kept"
    assert second.vae.config.scaling_factor == first.vae.config.scaling_factor
    moved, scratch = (
        sum(
            float((a - b).detach().abs().sum())
            for a, b in zip(one.unet.parameters(), first.unet.parameters(), strict=True)
        )
        for one in (second, build_small_pipeline(TINY_MODEL, SIZE, 7))
    )
    assert 0 < moved < scratch / 5


def test_a_checkpoint_of_other_sizes_is_refused(photographs: list[np.ndarray], tmp_path: Path) -> None:
    other = TINY_MODEL.model_copy(update={"unet_channels": (16, 16)})
    save_pipeline(build_small_pipeline(other, SIZE, 0), tmp_path / "base")
    with pytest.raises(PrefPaintError, match=r"pretrain\.start_from: .*base has other sizes"):
        pretrain(photographs, CONFIG.model_copy(update={"start_from": tmp_path / "base"}), tmp_path)


def test_training_leaves_the_processors_arithmetic_as_it_was(photographs: list[np.ndarray], tmp_path: Path) -> None:
    pretrain(photographs, CONFIG, tmp_path)
    smallest = torch.tensor(2.0**-149)
    assert float(smallest / 1) > 0


def test_no_codec_to_keep_is_refused() -> None:
    with pytest.raises(ValueError, match="needs start_from"):
        PretrainConfig.model_validate({"codec": {"steps": 0}})
