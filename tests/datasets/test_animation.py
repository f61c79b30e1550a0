"""Animations: the same bytes twice, the frames in them, one frame in memory, and mistakes in one sentence."""

import io
import weakref
from collections.abc import Iterator
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from prefpaint.datasets import AnimationDataset


def moving_square(count: int, height: int = 30, width: int = 33) -> np.ndarray:
    """A square of a colour of its own that moves across a shaded ground, (N, H, W, 3) uint8."""
    rows, columns = np.mgrid[:height, :width]
    ground = np.stack([60 + 3 * rows, 200 - 3 * columns, 90 + rows + columns], -1)
    frames = np.repeat(ground[None], count, 0).astype(np.uint8)
    for number, frame in enumerate(frames):
        frame[8:18, 2 + 3 * number : 12 + 3 * number] = (200, 60, 90)
    return frames


def read_mp4(path: Path) -> tuple[dict[str, object], np.ndarray]:
    """What ffmpeg says of a video, and its frames as (N, H, W, 3) uint8."""
    reader = imageio_ffmpeg.read_frames(str(path))
    described = next(reader)
    width, height = described["size"]
    return described, np.stack([np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader])


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_an_animation_is_written_whole_and_the_same_twice(tmp_path: Path, ending: str) -> None:
    frames = moving_square(5)
    dataset = AnimationDataset(str(tmp_path / f"a.{ending}"))
    dataset.save(frames)
    first = dataset.load()
    dataset.save(iter(frames))
    assert dataset.load() == first
    assert [path.name for path in tmp_path.iterdir()] == [f"a.{ending}"]


def test_a_gif_shows_the_frames(tmp_path: Path) -> None:
    frames = moving_square(5)
    AnimationDataset(str(tmp_path / "a.gif")).save(frames)
    with Image.open(tmp_path / "a.gif") as animation:
        assert animation.n_frames == 5 and animation.size == (7 * 33, 7 * 30)
        assert animation.info["loop"] == 0 and animation.info["duration"] == 90
        for number, frame in enumerate(frames):
            animation.seek(number)
            shown = np.asarray(animation.convert("RGB")).astype(int)
            # 256 colours for a shaded ground, dithered.
            assert np.abs(shown - frame.repeat(7, 0).repeat(7, 1)).mean() < 5


def test_an_mp4_plays_everywhere_and_shows_the_frames(tmp_path: Path) -> None:
    frames = moving_square(5)
    file = tmp_path / "a.mp4"
    AnimationDataset(str(file)).save(frames)
    described, shown = read_mp4(file)
    # Odd sides get a column; a whole factor enlarges the rest.
    assert shown.shape == (5, 210, 232, 3)
    assert described["codec"] == "h264" and str(described["pix_fmt"]).startswith("yuv420p(tv, bt709")
    assert described["fps"] == pytest.approx(100 / 9, abs=0.01)
    found = shown[:, :, :231].reshape(5, 30, 7, 33, 7, 3)[:, :, 3, :, 3]
    # Colours at half resolution and lossy compression: a few grey levels in the middle of each pixel.
    assert np.abs(found.astype(int) - frames).mean() < 3
    assert np.abs(found.astype(int) - frames)[:, 10:16].max() < 30
    content = file.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "the index at the front"
    # Seconds since 1904 of making and changing, zero: no clock in the file.
    header = content.index(b"mvhd")
    assert content[header + 8 : header + 16] == bytes(8)


@pytest.mark.parametrize("ending", ["gif", "mp4"])
def test_one_frame_is_in_memory_at_a_time(tmp_path: Path, ending: str) -> None:
    alive: set[int] = set()
    most = 0

    class Frame(np.ndarray):
        pass

    def frames() -> Iterator[np.ndarray]:
        nonlocal most
        for number, values in enumerate(moving_square(9)):
            frame = values.view(Frame)
            alive.add(number)
            weakref.finalize(frame, alive.discard, number)
            most = max(most, len(alive))
            yield frame
            del frame

    AnimationDataset(str(tmp_path / f"a.{ending}")).save(frames())
    # The one before is let go of when the next one is asked for.
    assert most <= 2 and not alive


def message(dataset: AnimationDataset, frames: object) -> str:
    with pytest.raises(DatasetError) as caught:
        dataset.save(frames)
    said = str(caught.value.__cause__)
    assert "\n" not in said
    return said


def test_what_is_wrong_is_one_sentence_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = AnimationDataset(str(tmp_path / "a.mp4"))
    dataset.save(moving_square(2))
    before = dataset.load()
    assert "there are no frames" in message(dataset, [])
    mixed = [*moving_square(2), *moving_square(1, 20)]
    assert "frame 2 is 33 x 20 px, the first 33 x 30" in message(dataset, mixed)
    assert "animations are .gif or .mp4" in message(AnimationDataset(str(tmp_path / "a.avi")), moving_square(2))
    # It stops in the middle, and then it writes half of the frames, as on a full disk.
    program = tmp_path / "ffmpeg"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    program.write_text("#!/bin/sh\nhead -c 100 > /dev/null\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    assert "ffmpeg cannot write it" in message(dataset, moving_square(9))
    # It takes the rest, so that the writer does not meet a closed pipe first.
    cut = "sed 's/-i - -an/-i - -frames:v 4 -an/'"
    program.write_text(f'#!/bin/sh\n{real} $(echo "$@" | {cut})\ncat > /dev/null\n')
    assert "ffmpeg wrote 4 of 9 frames" in message(dataset, moving_square(9))
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "nothing"))
    assert "ffmpeg cannot write it" in message(dataset, moving_square(2))
    assert dataset.load() == before
    program.unlink()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_gif_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    dataset = AnimationDataset(str(tmp_path / "a.gif"))
    dataset.save(moving_square(1))
    assert Image.open(io.BytesIO(dataset.load())).size == (231, 210)
