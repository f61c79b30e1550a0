"""Sampling against the stock pipeline, and the laws of seeds and batches."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import load_pipeline, save_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, paste_known
from prefpaint.small_model.build import build_small_pipeline
from tests.conftest import REPOSITORY
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

STEPS = 4


@pytest.fixture
def pipe() -> Any:
    return build_small_pipeline(TINY_MODEL, SIZE, seed=1)


@pytest.fixture
def prompts(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    ids, images, masks = tiny_prompts(tmp_path, 5)
    return images.stack(ids), masks.stack(ids)


def test_images_are_those_of_the_stock_pipeline(pipe: Any, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    ours = Inpainter(pipe, SamplingConfig(steps=STEPS, batch=5)).sample(images, masks, [10, 11, 12, 13, 14])
    pipe.set_progress_bar_config(disable=True)
    for index in range(5):
        stock = pipe(
            prompt="",
            image=Image.fromarray(images[index]),
            mask_image=Image.fromarray(masks[index] * 255),
            height=SIZE,
            width=SIZE,
            num_inference_steps=STEPS,
            eta=1.0,
            guidance_scale=7.5,
            generator=torch.Generator().manual_seed(10 + index),
            output_type="np",
        ).images
        expected = paste_known((stock * 255).round().astype(np.uint8), images[index : index + 1], masks[index][None])
        # One grey level: rounding of float32 sums in another order.
        assert np.abs(expected[0].astype(int) - ours[index]).max() <= 1


def test_an_image_depends_on_its_own_seed_alone(pipe: Any, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    inpainter = Inpainter(pipe, SamplingConfig(steps=STEPS, batch=4))
    together = inpainter.sample(images, masks, [1, 2, 3, 4, 5])
    apart = inpainter.sample(images[[4, 1]], masks[[4, 1]], [5, 2])
    np.testing.assert_array_equal(apart, together[[4, 1]])
    assert not np.array_equal(together[0], inpainter.sample(images[:1], masks[:1], [9])[0])


def test_known_pixels_are_kept(pipe: Any, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    painted = Inpainter(pipe, SamplingConfig(steps=STEPS)).sample(images, masks, range(5))
    known = masks == 0
    np.testing.assert_array_equal(painted[known], images[known])
    assert not np.array_equal(painted[~known], images[~known])


def test_hidden_pixels_are_not_seen(pipe: Any, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    hidden = np.where(masks[..., None] > 0, 255 - images, images)
    inpainter = Inpainter(pipe, SamplingConfig(steps=STEPS))
    np.testing.assert_array_equal(inpainter.sample(images, masks, range(5)), inpainter.sample(hidden, masks, range(5)))


def test_equal_conditions_need_one_pass_and_give_the_same_latents(
    pipe: Any, prompts: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, masks = prompts
    inpainter = Inpainter(pipe, SamplingConfig(steps=STEPS, guidance=7.0))
    counted: list[int] = []
    pipe.unet.register_forward_pre_hook(lambda module, arguments: counted.append(len(arguments[0])))
    short = inpainter.rollout(images, masks, range(5))
    assert counted == [5] * STEPS
    monkeypatch.setattr(inpainter, "_differs", [True])
    long = inpainter.rollout(images, masks, range(5))
    assert counted[STEPS:] == [10] * STEPS
    # (1 − g) f + g f = f up to float32 rounding, amplified by g and by the steps.
    torch.testing.assert_close(short.latents, long.latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("guidance", "passes"), [(7.0, 2), (1.0, 1)])
def test_a_text_unlike_the_negative_one_is_guided(
    pipe: Any, prompts: tuple[np.ndarray, np.ndarray], guidance: float, passes: int
) -> None:
    inpainter = Inpainter(pipe, SamplingConfig(steps=STEPS, text_prompt="a cat", guidance=guidance))
    inpainter.rollout(*prompts, range(5))
    assert inpainter.evaluations == passes * 5 * STEPS


@pytest.mark.parametrize("guidance", [1.0, 7.0])
def test_every_prompt_has_words_of_its_own(pipe: Any, prompts: tuple[np.ndarray, np.ndarray], guidance: float) -> None:
    images, masks = prompts
    texts = ["a cat", "", "a dog", "a cat", ""]
    config = SamplingConfig(steps=STEPS, batch=5, guidance=guidance)
    painted = Inpainter(pipe, config).sample(images, masks, range(5), texts)
    for place, text in enumerate(texts):
        alone = Inpainter(pipe, config.model_copy(update={"text_prompt": text}))
        np.testing.assert_array_equal(painted[place], alone.sample(images, masks, range(5))[place])
    assert (painted[0] != Inpainter(pipe, config).sample(images, masks, range(5))[0]).any(), "words do something"
    # An empty text is the configured one.
    other = Inpainter(pipe, config.model_copy(update={"text_prompt": "a dog"}))
    again = other.sample(images, masks, range(5), ["a cat", "", "", "", ""])
    np.testing.assert_array_equal(again[[0, 2]], painted[[0, 2]])


def test_guidance_costs_a_second_pass_only_where_it_changes_something(
    pipe: Any, prompts: tuple[np.ndarray, np.ndarray]
) -> None:
    inpainter = Inpainter(pipe, SamplingConfig(steps=STEPS, guidance=7.0, negative_text_prompt="a dog"))
    for texts, passes in ((["a dog"] * 5, 1), (["a dog"] * 4 + ["a cat"], 2), (["a cat"] * 5, 2), ([""] * 5, 2)):
        before = inpainter.evaluations
        inpainter.rollout(*prompts, range(5), texts=texts)
        assert inpainter.evaluations - before == passes * 5 * STEPS, texts


def test_a_text_to_image_checkpoint_is_refused(pipe: Any) -> None:
    pipe.unet.register_to_config(in_channels=4)
    with pytest.raises(PrefPaintError, match="4 input channels"):
        Inpainter(pipe, SamplingConfig())


def test_the_digest_of_a_checkpoint_is_the_same_in_every_process(pipe: Any, tmp_path: Path) -> None:
    """The published scheduler files lack keys; diffusers keeps their names as a set."""
    save_pipeline(pipe, tmp_path)
    file = tmp_path / "scheduler/scheduler_config.json"
    lacking = ("prediction_type", "timestep_spacing", "rescale_betas_zero_snr", "sample_max_value", "thresholding")
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({key: config[key] for key in config if key not in lacking}), encoding="utf-8")
    code = (
        "from pathlib import Path\n"
        "from prefpaint.inpainting.checkpoint import load_pipeline\n"
        "from prefpaint.inpainting.config import SamplingConfig\n"
        "from prefpaint.inpainting.sampling import painting_digest\n"
        f"print(painting_digest(load_pipeline(Path({str(tmp_path)!r})), SamplingConfig()))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def test_a_checkpoint_that_cannot_read_ignores_words(
    pipe: Any, prompts: tuple[np.ndarray, np.ndarray], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, masks = prompts
    pipe.tokenizer.init_kwargs["trained_texts"] = ["", "unknown"]
    save_pipeline(pipe, tmp_path / "saved")
    loaded = load_pipeline(tmp_path / "saved")
    inpainter = Inpainter(loaded, SamplingConfig(steps=STEPS, batch=5))
    seeds = list(range(5))
    plain = inpainter.sample(images, masks, seeds)
    np.testing.assert_array_equal(inpainter.sample(images, masks, seeds, ["a cat", "a dog", "", "a cat", "x"]), plain)
    (said,) = [record.getMessage() for record in caplog.records if "cannot read" in record.getMessage()]
    assert "'a cat'" in said
    assert (inpainter.sample(images, masks, seeds, ["unknown"] * 5) != plain).any()


def test_the_embedded_base_says_that_it_cannot_read() -> None:
    config = json.loads((REPOSITORY / "data/06_models/base/tokenizer/tokenizer_config.json").read_text())
    assert config["trained_texts"] == ["", "unknown"]
