"""Extending pictures: stages that reach the whole, edges that are matched, originals that stay."""

import copy
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from prefpaint.applications.detail import carry_detail
from prefpaint.applications.extend import extend, plan_layout
from prefpaint.applications.extend_collection import (
    choose_pictures,
    draw_extended,
    extend_metrics,
    extend_work,
    find_joints,
    originals_work,
)
from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.applications.matching import carry_on, continue_colours, keep_colours, match_colours, match_texture
from prefpaint.applications.seams import band_changes, seam_visibility
from prefpaint.datasets import ImageFolderDataset
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.panorama import Window
from prefpaint.inpainting.sampling import Inpainter
from tests.conftest import Project
from tests.tiny import write_tiny_chooser


@given(
    height=st.integers(8, 300),
    width=st.integers(8, 300),
    wider=st.integers(0, 600),
    higher=st.integers(0, 600),
    refinements=st.integers(0, 2),
)
def test_a_layout_grows_from_the_original_to_the_whole(
    sizes: Any, height: int, width: int, wider: int, higher: int, refinements: int
) -> None:
    assume(wider + higher > 0)
    config = ExtendConfig(width=width + wider, aspect=None, height=height + higher, refinements=refinements)
    layout = plan_layout(height, width, sizes, config)
    box = layout.original
    assert (box.height, box.width) == (height, width) and (layout.height, layout.width) == (
        height + higher,
        width + wider,
    )
    assert abs(2 * box.left - wider) <= 1 and abs(2 * box.top - higher) <= 1, "the original is in the middle"
    for before, after in pairwise(layout.stages):
        assert before != after
        assert after.top <= before.top and after.top + after.height >= before.top + before.height
        assert after.left <= before.left and after.left + after.width >= before.left + before.width
        # Half of each side is known, but for rounding.
        assert after.height <= 2 * before.height + 1 and after.width <= 2 * before.width + 1
    last = layout.stages[-1]
    assert (last.top, last.left, last.height, last.width) == (0, 0, *layout.canvases[0])
    assert all(side % 4 == 0 for shape in layout.canvases for side in shape)
    for joints, begin, end, whole in (
        (layout.columns, box.left, box.left + width, layout.width),
        (layout.rows, box.top, box.top + height, layout.height),
    ):
        assert joints == sorted(set(joints)) and all(0 < x < whole for x in joints)
        assert not any(begin < x < end for x in joints)
        assert {x for x in (begin, end) if 0 < x < whole} <= set(joints)


@pytest.fixture(scope="module")
def sizes() -> Any:
    """What a layout asks of a family."""
    return SimpleNamespace(factor=4, patch=1, native_size=32)


def test_joints_by_hand(sizes: Any) -> None:
    layout = plan_layout(32, 32, sizes, ExtendConfig(aspect=4))
    assert layout.columns == [16, 32, 48, 80, 96, 112] and layout.rows == []
    assert [(one.left, one.width) for one in layout.stages] == [(48, 32), (32, 64), (0, 128)]
    tall = plan_layout(64, 32, sizes, ExtendConfig(aspect=None, height=128))
    assert tall.canvases == [(128, 32)] and tall.rows == [16, 32, 96, 112], "what is tall is not enlarged"
    large = plan_layout(80, 80, sizes, ExtendConfig(aspect=2, refinements=5))
    assert large.canvases == [(32, 64), (64, 128), (80, 160)], "up to the picture's own size"


def test_what_is_known_is_carried_on() -> None:
    values, weights = np.zeros((16, 16, 1)), np.zeros((16, 16))
    values[4:8, 4:8], weights[4:8, 4:8] = 30, 1
    np.testing.assert_allclose(carry_on(values, weights), 30, rtol=1e-6)
    values[:, 0], values[:, -1], weights[:, (0, -1)] = 0, 60, 1
    carried = carry_on(values, weights)[..., 0]
    assert carried[:, 1].mean() < carried[:, 8].mean() < carried[:, 14].mean()
    assert carried.min() >= 0 and carried.max() <= 60
    np.testing.assert_array_equal(carry_on(values, np.zeros((16, 16))), 0)


def test_colours_and_texture_follow_what_is_known() -> None:
    rng = np.random.default_rng(0)
    hole = np.zeros((32, 64), np.uint8)
    hole[:, 32:] = 1
    true = np.full((32, 64, 3), 100, np.uint8)
    # The model made everything 30 too bright.
    np.testing.assert_array_equal(match_colours(true + 30, true, hole), true)
    cluttered, plain = true.copy(), true.copy()
    clutter = (100 + rng.normal(0, 20, (32, 32, 3))).astype(np.uint8)
    cluttered[:, 32:], plain[:, :32] = clutter, clutter
    plain[:, 32:] = (100 + rng.normal(0, 10, (32, 32, 3))).astype(np.uint8)
    calmed, livened = match_texture(cluttered, hole), match_texture(plain, hole)
    assert calmed[:, 32:].std() < 0.5 * clutter.std()
    assert abs(livened[:, 32:].std() - clutter.std()) < 0.25 * clutter.std() < abs(plain[:, 32:].std() - clutter.std())
    np.testing.assert_array_equal(livened[:, :32], clutter)
    np.testing.assert_array_equal(match_texture(true, hole), true)


def test_colours_are_carried_outwards() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[16:] = 200
    box = Window(8, 32, 32, 32)
    whole = continue_colours(image, box, (48, 96)).astype(int)
    assert whole.shape == (48, 96, 3)
    # The horizon goes on to both sides, and melts on the way.
    for x in (31, 64):
        assert whole[9, x].max() < 20 and whole[38, x].min() > 180
    melting = [whole[25, x, 0] - whole[22, x, 0] for x in (64, 80, 95)]
    assert melting[0] > melting[1] > melting[2] > 0
    # Above and below the original, and in the corners, its edges go on.
    assert whole[0, 40].max() < 20 and whole[-1, 40].min() > 180 and whole[0, 0].max() < 60
    grey = np.full((8, 8, 3), 90, np.uint8)
    np.testing.assert_array_equal(continue_colours(grey, Window(0, 200, 8, 8), (8, 500)), 90)


def test_large_colours_are_kept_and_small_shapes_too() -> None:
    rng = np.random.default_rng(0)
    hole = np.zeros((32, 64), np.uint8)
    hole[:, 32:] = 1
    grain = rng.normal(0, 10, (32, 64, 3))
    grey = np.clip(128 + grain, 0, 255).astype(np.uint8)
    wanted = np.zeros_like(grey)
    wanted[..., 0] = 180
    kept = keep_colours(grey, wanted, hole, 8)
    np.testing.assert_array_equal(kept[:, :32], grey[:, :32])
    mean = kept[:, 32:].mean((0, 1))
    assert mean[0] == pytest.approx(180, abs=2) and mean[1:].max() < 6
    assert np.corrcoef(kept[:, 32:, 0].ravel(), grain[:, 32:, 0].ravel())[0, 1] > 0.95
    # What is wanted already stays, but for rounding.
    np.testing.assert_allclose(keep_colours(grey, grey, hole, 8), grey)


def test_a_soft_fill_takes_on_the_detail_of_the_original() -> None:
    """Above it is smooth, below it is grainy, and so it goes on."""
    rng = np.random.default_rng(0)
    box = Window(0, 64, 64, 64)
    image = np.full((64, 192, 3), 60, np.uint8)
    image[32:] = 160
    image[32:, 64:128] = np.clip(160 + rng.normal(0, 20, (32, 64, 1)), 0, 255).astype(np.uint8)
    found = carry_detail(image, box, 1)
    np.testing.assert_array_equal(box.of(found), box.of(image))
    below, above = found[40:, 136:], found[:24, 136:]
    # A blend of few tiles has the grain's variance on average only.
    assert below.std() == pytest.approx(image[40:, 64:128].std(), rel=0.3)
    # Some of the tiles above reach below.
    assert above.std() < 0.3 * below.std() and below.mean() == pytest.approx(160, abs=4)
    np.testing.assert_array_equal(carry_detail(image, box, 1), found)
    assert (carry_detail(image, box, 2) != found).any()
    # A fill with as much detail of its own stays as it is.
    grainy = np.clip(128 + rng.normal(0, 20, (64, 192, 3)), 0, 255).astype(np.uint8)
    changed = np.abs(carry_detail(grainy, box, 1).astype(int) - grainy)
    assert np.corrcoef(carry_detail(grainy, box, 1).ravel(), grainy.ravel())[0, 1] > 0.85 and changed.mean() < 8
    flat = np.full((8, 24, 3), 7, np.uint8)
    np.testing.assert_array_equal(carry_detail(flat, Window(0, 8, 8, 8), 1), flat)


def clouds(width: int, seed: int) -> np.ndarray:
    """A picture 64 px high of smooth colours and some grain."""
    rng = np.random.default_rng(seed)
    cells = Image.fromarray(rng.integers(0, 256, (5, width // 14, 3)).astype(np.uint8))
    smooth = np.asarray(cells.resize((width, 64), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def test_what_does_not_go_on_stands_out() -> None:
    """True continuations are the measure's zero; strips of another picture are what it must find."""
    goes_on, breaks = [], []
    for seed in range(12):
        wide, other = clouds(192, seed), clouds(192, 100 + seed)
        broken = wide.copy()
        grain = np.random.default_rng(seed).normal(0, 25, other[:, 128:].shape)
        broken[:, 128:] = np.clip(other[:, 128:] + grain, 0, 255)
        goes_on.append(seam_visibility(wide, [64, 128], wide[:, 64:128]))
        breaks.append(seam_visibility(broken, [128], wide[:, 64:128]))
    for name in ("colour", "texture"):
        joints, inside = (np.mean([getattr(one, f"{name}_{kind}") for one in goes_on]) for kind in ("above", "inside"))
        # 24 joints and 588 places: what goes on is judged as the inside of the original is.
        assert joints < 0.25 and inside < 0.25
    assert np.mean([one.texture_above for one in breaks]) > 0.9
    narrow = seam_visibility(clouds(84, 0), [40], clouds(84, 0)[:, 36:44])
    assert narrow.colour_above == narrow.texture_above == narrow.colour_inside == []


def test_visibility_by_hand() -> None:
    image = np.zeros((4, 101, 3), np.uint8)
    image[:, 50:] = 100
    seen = seam_visibility(image, [50, 20], image[:, :40])
    assert seen.joints == [100.0, 0.0] and (seen.low, seen.high) == (0.0, 0.0) and seen.inside == 1
    assert seen.colour_above == [True, False]
    np.testing.assert_allclose(band_changes(image, [50, 49, 20])[:, 0], [100, 50, 0])


@pytest.fixture(scope="module")
def inpainter(tiny_base: Path) -> Inpainter:
    return Inpainter(load_pipeline(tiny_base), SamplingConfig(steps=2, batch=2), "cpu")


@pytest.mark.parametrize("size", [(32, 32), (32, 20), (48, 75), (17, 9)])
def test_the_original_stays_and_the_size_is_reached(inpainter: Inpainter, size: tuple[int, int]) -> None:
    height, width = size
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    config = ExtendConfig(width=3 * width + 1, aspect=None, height=2 * height)
    found, layout = extend(inpainter, image, 1, config)
    assert found.shape == (2 * height, 3 * width + 1, 3)
    np.testing.assert_array_equal(layout.original.of(found), image)
    np.testing.assert_array_equal(extend(inpainter, image, 1, config)[0], found)
    assert (extend(inpainter, image, 2, config)[0] != found).any()


def test_a_model_that_paints_grey_continues_grey(inpainter: Inpainter) -> None:
    """Whatever else the model paints of a flat picture, its error there is known and taken off."""
    grey = copy.copy(inpainter)
    grey.decode_pixels = lambda latents: torch.full((len(latents), 3, *(4 * n for n in latents.shape[2:])), 0.5)  # type: ignore[method-assign]
    image = np.full((32, 32, 3), 90, np.uint8)
    np.testing.assert_array_equal(extend(grey, image, 1, ExtendConfig(aspect=4, height=48))[0], 90)


def test_the_best_sample_of_each_coarse_step_is_kept(inpainter: Inpainter) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    config = ExtendConfig(aspect=4, samples=2)
    shown: list[tuple[np.ndarray, np.ndarray]] = []

    def choose(fills: np.ndarray, hole: np.ndarray, text: str) -> int:
        shown.append((fills, hole))
        return 0

    first = extend(inpainter, image, 1, config, choose)[0]
    np.testing.assert_array_equal(first, extend(inpainter, image, 1, ExtendConfig(aspect=4))[0])
    assert len(shown) == 2, "the picture doubles twice"
    for fills, hole in shown:
        assert len(fills) == 2 and hole.any() and not hole.all()
        np.testing.assert_array_equal(fills[0][hole == 0], fills[1][hole == 0])
        assert (fills[0][hole > 0] != fills[1][hole > 0]).any()
    assert (extend(inpainter, image, 1, config, lambda fills, hole, text: 1)[0] != first).any()
    with pytest.raises(PrefPaintError, match=r"extend\.samples: is 2, and nothing chooses"):
        extend(inpainter, image, 1, config)


def test_an_aspect_is_of_the_wanted_height(inpainter: Inpainter) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    assert extend(inpainter, image, 1, ExtendConfig(aspect=2.5))[0].shape == (32, 80, 3)
    assert extend(inpainter, image, 1, ExtendConfig(aspect=2.5, height=40))[0].shape == (40, 100, 3)
    assert extend(inpainter, image, 1, ExtendConfig(aspect=None, height=40))[0].shape == (40, 32, 3)


def test_what_cannot_be_done_is_one_sentence(inpainter: Inpainter) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(PrefPaintError, match=r"extend\.width: gives 32 columns, but the picture already has 32"):
        extend(inpainter, image, 1, ExtendConfig(width=32, aspect=None))
    with pytest.raises(PrefPaintError, match=r"extend\.height: gives 20 rows, but the picture already has 32"):
        extend(inpainter, image, 1, ExtendConfig(height=20))
    with pytest.raises(PrefPaintError, match="4 x 32 px cannot be extended"):
        extend(inpainter, image[:, :4], 1, ExtendConfig())
    with pytest.raises(
        PrefPaintError, match=r"picture of 1000000000 x 32 px takes \d+\.\d GB of memory, and this mach"
    ):
        extend(inpainter, image, 1, ExtendConfig(width=10**9, aspect=None))
    for wrong in ({"width": 70}, {"aspect": None}, {"overlap": 0.0}):
        with pytest.raises(ValidationError):
            ExtendConfig.model_validate(wrong)


def test_pictures_are_chosen_from_as_many_photographs_as_there_are() -> None:
    prompts = pd.DataFrame(
        [
            ("u0", "unseen", "outpaint_strip", "a"),
            ("u1", "unseen", "outpaint_strip", "a"),
            ("u2", "unseen", "outpaint_square", "b"),
            ("u3", "unseen", "warp", "c"),
            ("t0", "train", "outpaint_strip", "d"),
        ],
        columns=["prompt_id", "split", "pattern", "photograph"],
    )
    assert choose_pictures(prompts, 8) == ["u0", "u2", "u1"]
    assert choose_pictures(prompts[prompts["split"] == "train"], 8) == []
    assert extend_metrics([]) == {"pictures": 0, "joints": 0}
    nothing = ImageFolder(Path("nowhere"))
    assert "none was extended" in draw_extended(nothing, nothing, {}).texts[0].get_text()


def test_the_pipeline(project: Project) -> None:
    assert project.run("run", "--pipeline=masks").returncode == 0
    (project.path / "data/06_models/base").rename(project.path / "data/06_models/aligned")
    write_tiny_chooser(project.path / "data/06_models")
    project.set(extend={"width": 70, "aspect": None, "images": 2, "samples": 2})
    done = project.run("run", "--pipeline=extend")
    assert done.returncode == 0, done.stderr
    folder = ImageFolder(project.path / "data/07_model_output/extended_images")
    assert len(folder) == 2 and {folder.size(name) for name in folder} == {(70, 32)}
    assert (project.path / "data/08_reporting/extend.png").read_bytes().startswith(b"\x89PNG")


PROMPTS = pd.DataFrame(columns=["prompt_id", "split", "pattern", "photograph"])


def own_pictures(folder: Path) -> ImageFolder:
    """Pictures of three sizes and shapes, of which one is no picture, brought into a folder of originals."""
    (folder / "mine/more").mkdir(parents=True)
    for name, size in (("a.png", (32, 32)), ("more/b.png", (24, 24)), ("c.jpg", (40, 60)), ("wide.png", (200, 20))):
        pixels = np.random.default_rng(len(name)).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "mine" / name)
    (folder / "mine/d.png").write_text("dear diary")
    originals = ImageFolder(folder / "originals")
    complete_folder(originals, originals_work(PROMPTS, originals, ExtendConfig(folder=folder / "mine")))
    return originals


def test_own_pictures_of_any_size(inpainter: Inpainter, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    originals = own_pictures(tmp_path)
    assert {"a", "c", "wide"} < set(originals) and len(originals) == 4
    assert "d.png: cannot be read as an image" in caplog.text
    config = ExtendConfig(aspect=3)
    extended = ImageFolder(tmp_path / "extended")
    complete_folder(extended, extend_work(inpainter.original, originals, inpainter.config, config))
    assert "wide: extend.aspect: gives 60 columns, but the picture already has 200" in caplog.text
    assert sorted(extended.size(name) for name in extended) == [(72, 24), (96, 32), (180, 60)]
    found = find_joints(originals, extended, inpainter.family, config)
    metrics = extend_metrics(list(found.values()))
    assert metrics["pictures"] == 3 and metrics["joints"] == sum(len(one.columns) for one in found.values())
    assert 0 <= metrics["joints_within_range"] <= 1 and metrics["range_low"] <= metrics["range_high"]
    assert len(draw_extended(originals, extended, found).axes) == 6


def test_a_killed_run_goes_on_and_ends_in_the_same_pictures(inpainter: Inpainter, tmp_path: Path) -> None:
    originals, config = own_pictures(tmp_path), ExtendConfig(aspect=3)
    whole, halted = ImageFolder(tmp_path / "whole"), ImageFolder(tmp_path / "halted")
    complete_folder(whole, extend_work(inpainter.original, originals, inpainter.config, config))
    complete_folder(halted, extend_work(inpainter.original, originals, inpainter.config, config))
    halted.file(next(iter(halted))).unlink()
    kept = {name: halted.file(name).stat().st_mtime_ns for name in halted}
    complete_folder(halted, extend_work(inpainter.original, originals, inpainter.config, config))
    assert {name: halted.checksum(name) for name in halted} == {name: whole.checksum(name) for name in whole}
    assert all(halted.file(name).stat().st_mtime_ns == time for name, time in kept.items())
    complete_folder(
        halted, extend_work(inpainter.original, originals, inpainter.config, config.model_copy(update={"seed": 1}))
    )
    assert all(halted.checksum(name) != whole.checksum(name) for name in whole)


def test_nothing_to_widen_is_no_failure(inpainter: Inpainter, tmp_path: Path) -> None:
    """Prompts that are all warps show no whole picture: the default pipeline goes on."""
    originals, extended = (ImageFolderDataset(str(tmp_path / name)) for name in ("originals", "extended"))
    originals.save(originals_work(PROMPTS.astype(str), ImageFolder(tmp_path), ExtendConfig()))
    extended.save(extend_work(inpainter.original, originals.load(), inpainter.config, ExtendConfig()))
    found = find_joints(originals.load(), extended.load(), inpainter.family, ExtendConfig())
    assert extend_metrics(list(found.values())) == {"pictures": 0, "joints": 0}


def test_one_more_picture_leaves_the_others(inpainter: Inpainter, tmp_path: Path) -> None:
    originals, extended, config = own_pictures(tmp_path), ImageFolder(tmp_path / "extended"), ExtendConfig(aspect=3)
    complete_folder(extended, extend_work(inpainter.original, originals, inpainter.config, config))
    times = {name: extended.file(name).stat().st_mtime_ns for name in extended}
    shutil.copy(tmp_path / "mine/a.png", tmp_path / "mine/e.png")
    (tmp_path / "mine/c.jpg").unlink()
    complete_folder(originals, originals_work(PROMPTS, originals, ExtendConfig(folder=tmp_path / "mine")))
    complete_folder(extended, extend_work(inpainter.original, originals, inpainter.config, config))
    assert "e" in extended and "c" not in extended
    assert all(times[name] == extended.file(name).stat().st_mtime_ns for name in extended if name != "e")


def test_a_folder_that_cannot_be_widened(inpainter: Inpainter, tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"extend\.folder: .*nowhere is not a folder"):
        originals_work(PROMPTS, ImageFolder(tmp_path), ExtendConfig(folder=tmp_path / "nowhere"))
    with pytest.raises(PrefPaintError, match=r"none of 4 pictures can be widened; \w+: extend\.aspect: gives"):
        extend_work(inpainter.original, own_pictures(tmp_path), inpainter.config, ExtendConfig(aspect=0.5))
    with pytest.raises(PrefPaintError, match=r"extend\.folder: no picture in .* can be read"):
        extend_work(
            inpainter.original,
            ImageFolder(tmp_path / "empty"),
            inpainter.config,
            ExtendConfig(folder=tmp_path / "mine"),
        )
