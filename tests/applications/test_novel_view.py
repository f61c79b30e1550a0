"""Novel views: what the camera sees already stays, what it uncovers is filled, and a stereo pair tells the truth."""

from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from prefpaint.applications.novel_view import (
    camera_path,
    centred_square,
    fill_stereo,
    novel_view,
    shift_view,
    stereo_metrics,
    stereo_windows,
    views_work,
)
from prefpaint.applications.novel_view_config import NovelViewConfig
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from tests.conftest import Project
from tests.test_cli_errors import sentence


@pytest.fixture(scope="module")
def inpainter(tiny_base: Path) -> Inpainter:
    return Inpainter(load_pipeline(tiny_base), SamplingConfig(steps=2, batch=4), "cpu")


def picture(height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_the_path_is_closed_and_begins_where_the_picture_was_taken() -> None:
    path = camera_path(8, 0.3, 0.1)
    assert path[0] == (0.0, 0.0) and len(path) == 8
    yaws = np.array([yaw for yaw, _ in path])
    assert yaws.max() == pytest.approx(0.3) and yaws.min() == pytest.approx(-0.3)
    # The last step is as long as the first: the loop has no jump.
    assert abs(yaws[-1]) == pytest.approx(abs(yaws[1]))


def test_from_the_same_place_the_picture_is_the_same(inpainter: Inpainter) -> None:
    image, depth = picture(), np.linspace(1, 2, 32)[:, None] * np.ones((32, 32))
    found = novel_view(inpainter, image, depth, [(0.0, 0.0)], 0.9, 0)
    np.testing.assert_array_equal(found.frames[0], image)
    assert not found.holes.any()


@pytest.mark.parametrize("size", [(32, 32), (40, 24)])
def test_what_is_seen_stays_and_what_is_uncovered_is_filled(inpainter: Inpainter, size: tuple[int, int]) -> None:
    image = picture(*size)
    depth = np.full(size, 2.0)
    depth[10:20, 8:16] = 1.0
    path = [(0.25, 0.0), (-0.25, 0.1)]
    found = novel_view(inpainter, image, depth, path, 0.9, 0)
    assert found.holes.any((1, 2)).all()
    np.testing.assert_array_equal(found.frames[found.holes == 0], found.warped[found.holes == 0])
    assert (found.frames[found.holes > 0] != found.warped[found.holes > 0]).any()
    again = novel_view(inpainter, image, depth, path, 0.9, 0)
    np.testing.assert_array_equal(again.frames, found.frames)
    assert (novel_view(inpainter, image, depth, path, 0.9, 1).frames != found.frames).any()


def test_a_shift_by_hand() -> None:
    """Background with disparity 1, a near column with disparity 3: it lands two columns further left, and in front."""
    image = np.zeros((1, 8, 3), np.uint8)
    image[0, :, 0] = np.arange(8) * 10
    disparity = np.ones((1, 8))
    disparity[0, 5] = 3
    warped, hole = shift_view(image, disparity)
    # Column 5 goes to 2 and hides column 3; nothing comes to 4 (where 5 would have gone) and 7.
    assert warped[0, :, 0].tolist() == [10, 20, 50, 40, 0, 60, 70, 0]
    assert hole[0].tolist() == [0, 0, 0, 0, 1, 0, 0, 1]


def test_a_flat_wall_seen_by_two_cameras_is_filled_from_truth_alone(inpainter: Inpainter) -> None:
    """Where the right camera sees the left picture shifted, what is warped is what it saw."""
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (26, 40, 3)).astype(np.uint8))
    wall = np.asarray(coarse.resize((300, 208), Image.Resampling.BICUBIC))
    left, right = wall[:, :280], wall[:, 20:]
    right = np.concatenate([right, right[:, -1:]], 1)[:, :280]
    windows = stereo_windows(left, right, np.full((208, 280), 20.0), 32, 5, 0)
    assert windows.holes.shape == (5, 32, 32) and (windows.holes.mean((1, 2)) >= 0.02).all()
    known = windows.holes == 0
    # Both pictures were resized on their own, and a shift of 8 px is whole: differences are those of resampling.
    assert np.abs(windows.warped[known].astype(int) - windows.truth[known]).mean() < 12
    fills = fill_stereo(windows, {"base": inpainter, "aligned": inpainter}, 0)
    assert set(fills) == {"base", "aligned", "biharmonic"}
    for images in fills.values():
        np.testing.assert_array_equal(images[known], windows.warped[known])
    metrics = stereo_metrics(windows, fills | {"truth": windows.truth}, 100, 0)
    assert metrics["windows"] == 5 and metrics["ssim_truth"] == 1.0
    assert metrics["psnr_base_low"] <= metrics["psnr_base"] <= metrics["psnr_base_high"] < metrics["psnr_truth"]
    assert metrics["psnr_gain"] == metrics["ssim_gain_high"] == 0.0, "the same model twice"
    better = stereo_metrics(windows, fills | {"aligned": windows.truth}, 100, 0)
    assert better["psnr_gain"] == pytest.approx(metrics["psnr_truth"] - metrics["psnr_base"], abs=1e-5)


def test_the_square_keeps_picture_and_depth_together() -> None:
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, 20:] = 200
    depth = np.where(image[..., 0] > 0, 2.0, 1.0)
    small, deep = centred_square(image, depth, 10)
    assert small.shape == (10, 10, 3) and ((small[..., 0] > 100) == (deep == 2.0)).all()


def test_views_that_are_asked_for(inpainter: Inpainter, tmp_path: Path) -> None:
    image, depth = picture(), np.linspace(1, 3, 32 * 32).reshape(32, 32)
    asked = NovelViewConfig(views=((0.2, 0.0), (0.0, 0.0)))
    frames = ImageFolder(tmp_path)
    complete_folder(frames, views_work(inpainter.original, image, depth, inpainter.config, asked))
    assert list(frames) == ["frame_0000", "frame_0001"]
    same = novel_view(inpainter, image, depth, [(0.2, 0.0)], asked.field_of_view, asked.seed)
    assert same.holes.any()
    np.testing.assert_array_equal(frames["frame_0000"], same.frames[0])
    np.testing.assert_array_equal(frames["frame_0001"], image)
    with pytest.raises(ValidationError, match="less than 1"):
        NovelViewConfig(views=((0.2, 40.0),))


def test_killed_views_go_on_to_the_same_frames(inpainter: Inpainter, tmp_path: Path) -> None:
    image, depth = picture(), np.linspace(1, 3, 32 * 32).reshape(32, 32)
    frames, config = ImageFolder(tmp_path), NovelViewConfig(frames=5)
    complete_folder(frames, views_work(inpainter.original, image, depth, inpainter.config, config))
    whole = {name: frames.checksum(name) for name in frames}
    for name in ("frame_0001", "frame_0003"):
        frames.file(name).unlink()
    kept = {name: frames.file(name).stat().st_mtime_ns for name in frames}
    complete_folder(frames, views_work(inpainter.original, image, depth, inpainter.config, config))
    assert {name: frames.checksum(name) for name in frames} == whole
    assert all(frames.file(name).stat().st_mtime_ns == time for name, time in kept.items())
    complete_folder(
        frames, views_work(inpainter.original, image, depth, inpainter.config, config.model_copy(update={"seed": 1}))
    )
    assert any(frames.checksum(name) != whole[name] for name in frames)


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.ones((8, 8)), "depth is 8 x 8 px, but the picture 32 x 32"),
        (np.zeros((32, 32)), "not above 0"),
        (np.full((32, 32), np.nan), "not above 0"),
    ],
)
def test_a_depth_that_does_not_fit(inpainter: Inpainter, depth: np.ndarray, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message):
        novel_view(inpainter, picture(), depth, [(0.1, 0.0)], 0.9, 0)


def test_a_pair_without_parallax_has_nothing_to_fill() -> None:
    image = picture(100, 150)
    with pytest.raises(PrefPaintError, match="no window with something to fill"):
        stereo_windows(image, image, np.full((100, 150), 1e-6), 32, 4, 0)


def test_the_pipeline(project: Project) -> None:
    assert project.run("run", "--pipeline=masks").returncode == 0
    aligned = project.path / "data/06_models/aligned"
    assert project.run("run", "--pipeline=novel_view").returncode == 1
    (project.path / "data/06_models/base").rename(aligned)
    aligned.with_name("base").symlink_to(aligned)
    project.set(novel_view={"frames": 5, "crops": 3, "resamples": 100, "photograph": "nobody"})
    assert "novel_view.photograph: nobody was not found; choose from astronaut" in sentence(
        project.run("run", "--pipeline=novel_view")
    )
    project.set(novel_view={"photograph": "motorcycle"})
    done = project.run("run", "--pipeline=novel_view")
    assert done.returncode == 0, done.stderr
    with Image.open(project.path / "data/08_reporting/novel_view.gif") as animation:
        assert animation.n_frames == 5 and animation.size == (256, 256)
    frames_written, _ = imageio_ffmpeg.count_frames_and_secs(str(project.path / "data/08_reporting/novel_view.mp4"))
    assert frames_written == 5
    frames = ImageFolder(project.path / "data/07_model_output/novel_view_frames")
    assert len(frames) == 5 and {frames.size(name) for name in frames} == {(32, 32)}
    assert (project.path / "data/08_reporting/novel_view.png").read_bytes().startswith(b"\x89PNG")
