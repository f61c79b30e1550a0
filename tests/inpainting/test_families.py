"""Every family on a random model of its own diffusers classes: against the stock pipeline, saved and loaded back."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.chain import noised, per_image, step_mean
from prefpaint.inpainting.checkpoint import load_pipeline, save_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import FAMILIES, family_of
from prefpaint.inpainting.sampling import Inpainter, painting_digest, paste_known
from tests.families import MODELS, random_model
from tests.tiny import SIZE

CHAIN = SamplingConfig(steps=4, eta=0.0, guidance=3.0, text_prompt="a cat", batch=2)
SEEDS = [5, 6]
EVERY = pytest.mark.parametrize("model", MODELS)


@pytest.fixture(scope="module")
def prompts() -> tuple[np.ndarray, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[0, 8:24, 8:28] = masks[1, 3:17, 5:22] = 1
    return images, masks


def stock(pipe: Any, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """What diffusers' own call paints."""
    call = family_of(pipe).stock_call(CHAIN)
    assert call is not None
    painted = [
        pipe(
            image=Image.fromarray(image),
            mask_image=Image.fromarray(255 * mask),
            height=SIZE,
            width=SIZE,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            **call,
        ).images[0]
        for image, mask, seed in zip(images, masks, SEEDS, strict=True)
    ]
    return paste_known(np.rint(255 * np.stack(painted)).astype(np.uint8), images, masks)


def far(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


@EVERY
def test_a_family_paints_what_its_stock_pipeline_does(model: str, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    pipe = random_model(model)
    ours = Inpainter(pipe, CHAIN, "cpu").sample(*prompts, SEEDS)
    # One grey level: float32 sums in another order.
    assert far(ours, stock(pipe, *prompts)) <= 1
    assert ours[prompts[1] > 0].std() > 10
    hidden = np.where(prompts[1][..., None] > 0, 255 - prompts[0], prompts[0])
    np.testing.assert_array_equal(Inpainter(pipe, CHAIN, "cpu").sample(hidden, prompts[1], SEEDS), ours)


def test_every_family_is_saved_and_painted_with_by_diffusers_alone(
    tmp_path: Path, prompts: tuple[np.ndarray, np.ndarray]
) -> None:
    """Loaded by its own class in an interpreter that never imports this package."""
    images, masks = prompts
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(tmp_path / f"image_{index}.png")
        Image.fromarray(255 * mask).save(tmp_path / f"mask_{index}.png")
    calls, ours = {}, {}
    for model in MODELS:
        pipe = random_model(model)
        ours[model] = Inpainter(pipe, CHAIN, "cpu").sample(images, masks, SEEDS)
        calls[model] = {"pipeline": type(pipe).__name__, "call": family_of(pipe).stock_call(CHAIN)}
        save_pipeline(pipe, tmp_path / model)
        loaded = Inpainter(load_pipeline(tmp_path / model), CHAIN, "cpu")
        np.testing.assert_array_equal(loaded.sample(images, masks, SEEDS), ours[model])
    (tmp_path / "calls.json").write_text(json.dumps(calls))
    code = """
import json, sys
import diffusers, numpy as np, torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
for model, how in json.load(open("calls.json")).items():
    pipe = getattr(diffusers, how["pipeline"]).from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    painted = [
        pipe(image=Image.open(f"image_{i}.png"), mask_image=Image.open(f"mask_{i}.png"), height=32, width=32,
             generator=torch.Generator().manual_seed(seed), output_type="np", **how["call"]).images[0]
        for i, seed in enumerate((5, 6))
    ]
    np.save(model + ".npy", np.rint(255 * np.stack(painted)).astype(np.uint8))
assert not any(name.startswith("prefpaint") for name in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    for model, painted in ours.items():
        assert far(paste_known(np.load(tmp_path / f"{model}.npy"), images, masks), painted) <= 1, model


@EVERY
def test_a_step_from_clean_latents_leads_to_their_next_level(model: str) -> None:
    """Where the network is right, the mean of a step without noise is the next level of the same picture."""
    inpainter = Inpainter(random_model(model), CHAIN, "cpu")
    schedule = inpainter.schedule(SIZE, SIZE)
    clean, noise = torch.randn(2, 3, *inpainter.latent_shape(SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    for index in range(CHAIN.steps - 1):
        level, ahead = (schedule.levels[torch.full((3,), step)] for step in (index, index + 1))
        here, there = (noised(schedule, clean, noise, one) for one in (level, ahead))
        # ε-models divide by a small signal at the first level.
        torch.testing.assert_close(
            step_mean(schedule, index, here.latents, here.target), there.latents, atol=1e-4, rtol=1e-4
        )


@EVERY
@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_a_random_step_keeps_the_share_of_noise(model: str, eta: float) -> None:
    """direction² + σ² is the next level's spread², so that marginals are those of the deterministic chain."""
    inpainter = Inpainter(random_model(model), CHAIN.model_copy(update={"eta": eta}), "cpu")
    schedule = inpainter.schedule(SIZE, SIZE)
    torch.testing.assert_close(
        schedule.direction[:-1].square() + schedule.sigma[:-1].square(), schedule.levels.spread[1:].square()
    )
    assert (schedule.sigma[:-1] > 0).all()
    assert per_image(schedule.sigma[0], torch.zeros(2, 1, 1, 1)).dtype == torch.float32


def test_flux_levels_are_shifted_by_the_size_of_the_picture() -> None:
    inpainter = Inpainter(random_model("flux_fill"), CHAIN, "cpu")
    small, large = inpainter.schedule(32, 32), inpainter.schedule(256, 256)
    assert large.levels.spread[1] > small.levels.spread[1] and small.levels.spread[0] == 1
    # μ(16 tokens) = 0.5 + (16 − 256) · 0.65 / 3840; σ' = e^μ / (e^μ + 1 / σ − 1) at σ = 3 / 4.
    shift = np.exp(0.5 + (16 - 256) * 0.65 / 3840)
    assert small.levels.spread[1].item() == pytest.approx(shift / (shift + 1 / 3), abs=1e-6)
    assert torch.equal(small.levels.time, small.levels.spread.float())


@EVERY
def test_pictures_that_the_network_cannot_take_are_refused(model: str) -> None:
    with pytest.raises(PrefPaintError, match=r"takes sides that are multiples of \d; set photographs.size"):
        Inpainter(random_model(model), CHAIN, "cpu").latent_shape(33, 32)


@pytest.mark.parametrize(("index", "message"), [("{}", "names no diffusers class"), ("[1]", "is damaged")])
def test_an_index_that_says_nothing_is_named(tmp_path: Path, index: str, message: str) -> None:
    (tmp_path / "model_index.json").write_text(index)
    with pytest.raises(PrefPaintError, match=message):
        load_pipeline(tmp_path)


class Reads(TorchDispatchMode):
    """Counts what waits for the device: numbers that are read from tensors, and tensors made of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.lift_fresh.default)
        return func(*args, **(kwargs or {}))


@EVERY
def test_steps_do_not_wait_for_the_device(
    model: str, prompts: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, called = [], []
    # On a CPU these reach no operator.
    for name in ("cpu", "tolist", "numpy"):
        plain = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *given, plain=plain: called.append(1) or plain(*given))
    for steps in (3, 6):
        inpainter = Inpainter(random_model(model), CHAIN.model_copy(update={"steps": steps, "eta": 1.0}), "cpu")
        inpainter.schedule(SIZE, SIZE)
        called.clear()
        with Reads() as reads:
            inpainter.rollout(*prompts, SEEDS)
        found.append(reads.count + len(called))
    assert found[0] == found[1] > 0, "pictures are read once, at the end"


@pytest.mark.parametrize("knob", ["compile", "channels_last", "vae_slicing"])
def test_knobs_of_speed_change_no_picture(knob: str, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    """Without a compiler's code: what is compiled is the same call."""
    changed = CHAIN.model_copy(update={knob: not getattr(CHAIN, knob)})
    with torch.compiler.set_stance("force_eager"):
        one, other = (Inpainter(random_model("xl"), chain, "cpu").sample(*prompts, SEEDS) for chain in (CHAIN, changed))
    assert far(one, other) <= 1
    assert painting_digest(random_model("xl"), CHAIN) == painting_digest(random_model("xl"), changed)


def test_a_checkpoint_of_no_family_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "QwenImagePipeline"}))
    with pytest.raises(PrefPaintError) as caught:
        load_pipeline(tmp_path)
    assert "is a QwenImagePipeline, which is not supported" in str(caught.value) and "\n" not in str(caught.value)
    assert all(family.name in str(caught.value) for family in FAMILIES)


def test_the_aligned_channels_of_every_family_are_checked() -> None:
    pipe = random_model("flux_fill")
    pipe.transformer.register_to_config(in_channels=64)
    with pytest.raises(PrefPaintError, match="its transformer takes 64 input channels, that of FLUX"):
        family_of(pipe)


@EVERY
def test_encoders_are_released_and_bfloat16_leaves_the_original_as_it_was(
    model: str, prompts: tuple[np.ndarray, np.ndarray]
) -> None:
    pipe = random_model(model)
    inpainter = Inpainter(pipe, CHAIN.model_copy(update={"precision": "bf16", "vae_slicing": True}), "cpu")
    painted = inpainter.sample(*prompts, SEEDS)
    assert family_of(pipe).network.dtype == pipe.vae.dtype == torch.float32
    assert inpainter.network.dtype == inpainter.vae.dtype == torch.bfloat16
    assert painted[prompts[1] > 0].std() > 10
