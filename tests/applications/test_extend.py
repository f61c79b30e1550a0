"""Widening pictures: windows that cover the new width once, edges that are matched, originals that stay."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from prefpaint.applications.extend import _join, extend, match_edge, plan_layout, plan_windows
from prefpaint.applications.extend_collection import (
    choose_pictures,
    draw_extended,
    extend_metrics,
    extend_work,
    find_joints,
    originals_work,
)
from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.applications.seams import band_changes, seam_visibility
from prefpaint.datasets import ImageFolderDataset
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from tests.conftest import Project


@given(
    width=st.integers(2, 200), more=st.integers(1, 400), side=st.sampled_from([32, 64]), overlap=st.floats(0.125, 0.875)
)
def test_windows_cover_what_is_new_once_and_always_touch_what_is_known(
    width: int, more: int, side: int, overlap: float
) -> None:
    wanted = width + more
    known = set(range((wanted - width) // 2, (wanted - width) // 2 + width))
    original = frozenset(known)
    for window in plan_windows(width, wanted, side, overlap):
        new = set(range(window.new_left, window.new_right))
        seen = set(range(window.left, window.left + side))
        assert known == set(range(window.known_left, window.known_right))
        assert new and not new & known and new <= seen
        assert window.new_right == window.known_left or window.new_left == window.known_right
        beside = window.new_left - window.again if window.rightwards else window.new_right
        again = set(range(beside, beside + window.again))
        # Only what was painted is painted again, and something is left to go by.
        assert again <= (seen & known) - original and len((seen & known) - again) >= 2
        # As much of what is known is seen as the overlap asks for, or all there is.
        assert len(seen & known) >= min(len(known), round(overlap * side)) - 1
        known |= new
    assert known == set(range(wanted))


def test_matching_takes_a_step_away_and_leaves_a_fitting_fill_alone() -> None:
    ramp = np.broadcast_to(np.arange(40.0)[None, None, :, None] * 3, (1, 32, 40, 3))
    known, fill = ramp[:, :, 8:10], ramp[:, :, 10:]
    np.testing.assert_allclose(match_edge(known, fill), fill, atol=1e-9)
    # A constant step is a change of mean colour, which is carried on all the way.
    np.testing.assert_allclose(match_edge(known, fill + 50), fill, atol=1e-9)
    rows = np.where(np.arange(32) % 2, 20.0, -20.0)[None, :, None, None]
    matched = match_edge(known, fill + rows)
    np.testing.assert_allclose(matched[:, :, 0], fill[:, :, 0], atol=1e-9)
    # What differs from row to row has only to be gone at the joint.
    np.testing.assert_allclose(matched[:, 1:-1, 15:], (fill + rows)[:, 1:-1, 15:], atol=2)


def test_what_is_painted_twice_is_blended() -> None:
    canvas = np.full((1, 8, 12, 3), 100.0)
    canvas[:, :, 6:] = 0
    # Two columns are painted again, three are new; a flat strip is brought to the known colour, then it is all new.
    strip = np.full((1, 8, 5, 3), 40.0)
    strip[:, :, 2:] = 70
    _join(canvas, 6, 2, strip)
    np.testing.assert_allclose(canvas[0, 0, :4, 0], 100)
    np.testing.assert_allclose(canvas[0, :, 4:6], 100)
    np.testing.assert_allclose(canvas[0, :, 6:9], 130)
    np.testing.assert_allclose(canvas[0, 0, 9:, 0], 0)
    other = np.full((1, 8, 12, 3), 100.0)
    other[:, :, 4:6] = 10
    _join(other, 6, 2, strip)
    # Old 10 and new 100, a third and two thirds of the way.
    np.testing.assert_allclose(other[0, 0, 4:6, 0], [40, 70])


@given(
    height=st.integers(8, 300),
    width=st.integers(8, 300),
    more=st.integers(1, 600),
    side=st.sampled_from([32, 64, 512]),
    overlap=st.floats(0.125, 0.875),
)
def test_a_layout_keeps_original_and_joints_inside(
    height: int, width: int, more: int, side: int, overlap: float
) -> None:
    layout = plan_layout(height, width, side, ExtendConfig(width=width + more, aspect=None, overlap=overlap))
    assert 0 <= layout.left <= layout.wanted - width and layout.wanted == width + more
    assert all(0 < x < layout.wanted for x in layout.joints)
    assert not any(layout.left < x < layout.left + width for x in layout.joints)


def clouds(width: int, seed: int) -> np.ndarray:
    """A picture 64 px high of smooth colours and some grain."""
    rng = np.random.default_rng(seed)
    cells = Image.fromarray(rng.integers(0, 256, (5, width // 14, 3)).astype(np.uint8))
    smooth = np.asarray(cells.resize((width, 64), Image.Resampling.BICUBIC), np.float64)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def test_what_does_not_go_on_stands_out() -> None:
    """True continuations are the measure's zero; strips of another picture, matched or not, are what it must find."""
    goes_on, breaks = [], []
    for seed in range(12):
        wide, other = clouds(192, seed), clouds(192, 100 + seed)
        broken = wide.copy()
        grain = np.random.default_rng(seed).normal(0, 25, other[:, 128:].shape)
        broken[:, 128:] = np.clip(match_edge(wide[None, :, 126:128], other[None, :, 128:] + grain)[0], 0, 255)
        goes_on.append(seam_visibility(wide, [64, 128], wide[:, 64:128]))
        breaks.append(seam_visibility(broken, [128], wide[:, 64:128]))
    assert np.mean([one.inside == 1 for one in breaks]) > 0.5, "the step alone is fooled by matching"
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
def test_the_original_stays_and_the_width_is_reached(inpainter: Inpainter, size: tuple[int, int]) -> None:
    height, width = size
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    config = ExtendConfig(width=3 * width + 1, aspect=None)
    found = extend(inpainter, images, [1, 2], config)
    assert found.images.shape == (2, height, 3 * width + 1, 3)
    np.testing.assert_array_equal(found.images[:, :, found.left : found.left + width], images)
    assert abs(found.left - width) <= 1, "the original is in the middle"
    assert found.left in found.joints and found.left + width in found.joints
    np.testing.assert_array_equal(extend(inpainter, images, [1, 2], config).images, found.images)
    assert (extend(inpainter, images, [3, 2], config).images[0] != found.images[0]).any()


def test_pictures_do_not_depend_on_their_neighbours(inpainter: Inpainter) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    together = extend(inpainter, images, [1, 2, 3], ExtendConfig(width=80, aspect=None)).images
    alone = extend(inpainter, images[1:2], [2], ExtendConfig(width=80, aspect=None)).images
    np.testing.assert_array_equal(together[1:2], alone)


def test_an_aspect_instead_of_a_width(inpainter: Inpainter) -> None:
    images = np.zeros((1, 32, 32, 3), np.uint8)
    assert extend(inpainter, images, [1], ExtendConfig(aspect=2.5)).images.shape[2] == 80


def test_what_cannot_be_done_is_one_sentence(inpainter: Inpainter) -> None:
    with pytest.raises(PrefPaintError, match=r"extend\.width: gives 32 columns, but the picture already has 32"):
        extend(inpainter, np.zeros((1, 32, 32, 3), np.uint8), [1], ExtendConfig(width=32, aspect=None))
    with pytest.raises(PrefPaintError, match="4 x 32 px cannot be extended"):
        extend(inpainter, np.zeros((1, 32, 4, 3), np.uint8), [1], ExtendConfig())
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
    assert "none was widened" in draw_extended(nothing, nothing, {}).texts[0].get_text()


def test_the_pipeline(project: Project) -> None:
    assert project.run("run", "--pipeline=masks").returncode == 0
    (project.path / "data/06_models/base").rename(project.path / "data/06_models/aligned")
    project.set(extend={"width": 70, "aspect": None, "images": 2})
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
    found = find_joints(originals, extended, 32, config)
    metrics = extend_metrics([visible for _, visible in found.values()])
    assert metrics["pictures"] == 3 and metrics["joints"] == sum(len(joints) for joints, _ in found.values())
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
    found = find_joints(originals.load(), extended.load(), 32, ExtendConfig())
    assert extend_metrics([visible for _, visible in found.values()]) == {"pictures": 0, "joints": 0}


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
