"""Widening pictures: windows that cover the new width once, edges that are matched, originals that stay."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from prefpaint.applications.extend import (
    _join,
    choose_pictures,
    draw_extended,
    extend,
    extend_metrics,
    extend_work,
    find_joints,
    match_edge,
    originals_work,
    plan_windows,
    seam_visibility,
)
from prefpaint.applications.extend_config import ExtendConfig
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


def test_visibility_by_hand() -> None:
    image = np.zeros((4, 101, 3), np.uint8)
    image[:, 50:] = 100
    seen = seam_visibility(image, [50, 20])
    assert seen.joints == [100.0, 0.0] and (seen.low, seen.high) == (0.0, 0.0) and seen.inside == 1


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
    with pytest.raises(PrefPaintError, match=r"extend\.width: asks for 32 columns, and the picture has 32 already"):
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
    complete_folder(extended, extend_work(inpainter, originals, config))
    assert "wide: extend.aspect: asks for 60 columns, and the picture has 200 already" in caplog.text
    assert sorted(extended.size(name) for name in extended) == [(72, 24), (96, 32), (180, 60)]
    found = find_joints(originals, extended, 32, config)
    metrics = extend_metrics([visible for _, visible in found.values()])
    assert metrics["pictures"] == 3 and metrics["joints"] == sum(len(joints) for joints, _ in found.values())
    assert 0 <= metrics["joints_within_range"] <= 1 and metrics["range_low"] <= metrics["range_high"]
    assert len(draw_extended(originals, extended, found).axes) == 6


def test_a_killed_run_goes_on_and_ends_in_the_same_pictures(inpainter: Inpainter, tmp_path: Path) -> None:
    originals, config = own_pictures(tmp_path), ExtendConfig(aspect=3)
    whole, halted = ImageFolder(tmp_path / "whole"), ImageFolder(tmp_path / "halted")
    complete_folder(whole, extend_work(inpainter, originals, config))
    complete_folder(halted, extend_work(inpainter, originals, config))
    halted.file(next(iter(halted))).unlink()
    kept = {name: halted.file(name).stat().st_mtime_ns for name in halted}
    complete_folder(halted, extend_work(inpainter, originals, config))
    assert {name: halted.checksum(name) for name in halted} == {name: whole.checksum(name) for name in whole}
    assert all(halted.file(name).stat().st_mtime_ns == time for name, time in kept.items())
    complete_folder(halted, extend_work(inpainter, originals, config.model_copy(update={"seed": 1})))
    assert all(halted.checksum(name) != whole.checksum(name) for name in whole)


def test_a_folder_that_cannot_be_widened(inpainter: Inpainter, tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"extend\.folder: .*nowhere is not a folder"):
        originals_work(PROMPTS, ImageFolder(tmp_path), ExtendConfig(folder=tmp_path / "nowhere"))
    with pytest.raises(PrefPaintError, match=r"none of 4 pictures can be widened; \w+: extend\.aspect: asks for"):
        extend_work(inpainter, own_pictures(tmp_path), ExtendConfig(aspect=0.5))
