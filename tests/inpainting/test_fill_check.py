"""A checkpoint that paints nothing is stopped wherever it paints; one that paints is not, whatever it is shown."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import prefpaint
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.candidates import CandidatesConfig, candidate_work
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.fill_check import REMEMBERED, WITNESSES, FillCheck
from prefpaint.inpainting.panorama import paint_canvas
from prefpaint.inpainting.sampling import Inpainter
from tests.conftest import REPOSITORY
from tests.families import MODELS, random_model
from tests.tiny import SIZE, tiny_prompts

CHAIN = SamplingConfig(steps=2, batch=4)


def fill(parameter: torch.nn.Parameter, value: float) -> None:
    with torch.no_grad():
        parameter.fill_(value)


def grey(pipe: Any) -> None:
    fill(pipe.vae.decoder.conv_out.weight, 0)


def white(pipe: Any) -> None:
    fill(pipe.vae.decoder.conv_out.bias, 100)


def black(pipe: Any) -> None:
    fill(pipe.vae.decoder.conv_out.bias, -100)


def not_a_number(pipe: Any) -> None:
    fill(pipe.vae.decoder.conv_in.weight, float("nan"))


def infinite(pipe: Any) -> None:
    fill(next(getattr(pipe, "unet" if hasattr(pipe, "unet") else "transformer").parameters()), float("inf"))


def too_large(pipe: Any) -> None:
    fill(next(getattr(pipe, "unet" if hasattr(pipe, "unet") else "transformer").parameters()), 1e38)


def unread(pipe: Any) -> None:
    pipe.vae.register_to_config(scaling_factor=1e9)


def silent(pipe: Any) -> None:
    fill(pipe.unet.conv_out.weight, 0)
    fill(pipe.unet.conv_out.bias, 0)


BREAKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "grey": (grey, "paints one colour"),
    "white": (white, r"paints one colour, \(255, 255, 255\), over everything"),
    "black": (black, "paints one colour, black, over everything"),
    "not a number": (not_a_number, "its vae gives numbers that are not finite, and fills would be black"),
    "infinite": (infinite, "gives numbers that are not finite"),
    "too large": (too_large, "gives numbers that are not finite"),
}
ONLY_UNETS: dict[str, tuple[Callable[[Any], None], str]] = {
    "silent": (silent, "its unet predicts the same number everywhere"),
    "latents out of range": (unread, "paints the same picture from different seeds|paints one colour"),
}


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    ids, images, masks = tiny_prompts(tmp_path_factory.mktemp("prompts"), 4)
    return images.stack(ids), masks.stack(ids)


def stopped(model: str, change: Callable[[Any], None], message: str, paint: Callable[[Any], Any]) -> None:
    pipe = random_model(model)
    change(pipe)
    pipe.register_to_config(_name_or_path="/models/mine")
    with pytest.raises(PrefPaintError, match=message) as caught:
        paint(pipe)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("/models/mine: ")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("broken", BREAKS)
def test_every_family(model: str, broken: str, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    change, message = BREAKS[broken]
    stopped(model, change, message, lambda pipe: Inpainter(pipe, CHAIN, "cpu").sample(*prompts, range(4)))


@pytest.mark.parametrize("model", ["epsilon", "velocity", "xl"])
@pytest.mark.parametrize("broken", ONLY_UNETS)
def test_every_unet(model: str, broken: str, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    change, message = ONLY_UNETS[broken]
    stopped(model, change, message, lambda pipe: Inpainter(pipe, CHAIN, "cpu").sample(*prompts, range(4)))


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("way", ["rollout", "repaint", "canvas", "inpaint", "candidates"])
def test_every_way_of_painting(broken: str, way: str, prompts: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    images, masks = prompts

    def paint(pipe: Any) -> None:
        inpainter = Inpainter(pipe, CHAIN, "cpu")
        if way == "rollout":
            inpainter.rollout(images, masks, range(4))
        elif way == "repaint":
            inpainter.repaint(images, masks, range(4), 0)
        elif way == "canvas":
            paint_canvas(inpainter, images[0], masks[0], 1, 0.5)
        elif way == "inpaint":
            hole = Image.fromarray(255 * masks[0])
            prefpaint.inpaint(pipe, Image.fromarray(images[0]), hole, sampling=CHAIN)
        else:
            ids, folder, holes = tiny_prompts(tmp_path, 2)
            table = pd.DataFrame(
                {"prompt_id": ids, "split": "train", "image_sha256": "a", "mask_sha256": "b", "text_prompt": ""}
            )
            work = candidate_work(pipe, table, folder, holes, CHAIN, CandidatesConfig())
            list(work.produce(work.keys))

    change, message = BREAKS[broken]
    stopped("epsilon", change, message, paint)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0)])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_the_embedded_base_may_paint_one_colour_over_pictures_of_one_colour(
    colour: tuple[int, ...], eta: float
) -> None:
    """Product photographs on white, night skies: flat fills are right there, and for every seed the same."""
    pipe = load_pipeline(REPOSITORY / "data/06_models/base")
    images = np.full((6, 64, 64, 3), colour, np.uint8)
    masks = np.zeros((6, 64, 64), np.uint8)
    masks[:, 16:48, 16:48] = 1
    for rows in ([0, 1], [2, 3, 4, 5]):
        Inpainter(pipe, SamplingConfig(steps=4, eta=eta), "cpu").sample(images[rows], masks[rows], rows)


def whole(colour: int) -> np.ndarray:
    return np.full((1, SIZE, SIZE, 3), colour, np.uint8)


def hole_of(side: int) -> np.ndarray:
    mask = np.zeros((1, SIZE, SIZE), np.uint8)
    mask[:, :side, :side] = 1
    return mask


def test_what_a_single_fill_may_be_by_chance_needs_witnesses(prompts: tuple[np.ndarray, np.ndarray]) -> None:
    """A black fill beside a known part that is not black: three prompts of it, and no other fill."""
    images, masks = prompts
    painted = np.where(masks[..., None] > 0, np.uint8(0), images)
    check = FillCheck("mine", "unet")
    for index in range(WITNESSES - 1):
        check.painted(painted[[index]], np.maximum(images[[index]], 20), masks[[index]], [index])
    with pytest.raises(PrefPaintError, match="mine: fills every hole with one colour, such as black"):
        check.painted(painted[[3]], np.maximum(images[[3]], 20), masks[[3]], [3])


def test_fills_that_differ_by_rounding_alone_need_witnesses(prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    check = FillCheck("mine", "unet")
    other = images.copy()
    other[:, 5, 5] ^= 1
    for index in range(WITNESSES):
        check.painted(images[[index]], images[[index]], masks[[index]], [2 * index])
        again = (other[[index]], images[[index]], masks[[index]], [2 * index + 1])
        if index < WITNESSES - 1:
            check.painted(*again)
        else:
            with pytest.raises(PrefPaintError, match="mine: paints the same fill from different seeds"):
                check.painted(*again)


def test_the_same_seed_gives_the_same_picture(prompts: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = prompts
    check = FillCheck("mine", "unet")
    for _ in range(REMEMBERED):
        check.painted(images, images, masks, [1, 2, 3, 4])


def test_a_checkpoint_that_paints_is_let_be(prompts: tuple[np.ndarray, np.ndarray]) -> None:
    """After two fills of one prompt that differ, a model may do what it likes but for numbers that are not finite."""
    images, masks = prompts
    check = FillCheck("mine", "unet")
    check.painted(images[:1], images[:1], masks[:1], [1])
    check.painted(255 - images[:1], images[:1], masks[:1], [2])
    check.painted(images, images, masks, [5, 6, 7, 8])
    for seed in range(4):
        check.painted(whole(0), whole(255), hole_of(16), [seed])
    with pytest.raises(PrefPaintError, match="its unet gives numbers that are not finite"):
        check.decoded(torch.tensor([float("inf")]), torch.tensor([float("nan")]))


@pytest.mark.parametrize("side", [1, 7])
def test_a_small_hole_says_nothing(side: int, prompts: tuple[np.ndarray, np.ndarray]) -> None:
    check = FillCheck("mine", "unet")
    for index, image in enumerate(prompts[0]):
        mask = hole_of(side)
        check.painted(np.where(mask[..., None] > 0, np.uint8(0), image[None]), image[None], mask, [index])


def test_a_mask_without_known_pixels(prompts: tuple[np.ndarray, np.ndarray]) -> None:
    check = FillCheck("mine", "unet")
    check.painted(whole(7), whole(255), np.ones((1, SIZE, SIZE), np.uint8), [1])
