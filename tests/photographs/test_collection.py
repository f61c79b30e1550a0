"""A collection decodes every photograph once, lists regions, and names what it left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.photographs.collection import photograph_key, photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig


def user_folder(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (40, 50 + index, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"holiday {index}.png")
    return folder


def collected(config: PhotographsConfig, path: Path) -> ImageFolder:
    folder = ImageFolder(path)
    complete_folder(folder, photograph_work(config))
    return folder


def test_a_folder_of_images(tmp_path: Path) -> None:
    config = PhotographsConfig(folder=user_folder(tmp_path / "mine", 20), source="holiday", unseen=0.2)
    photographs = collected(config, tmp_path / "out")
    regions, report = photograph_regions(config, photographs)
    assert report == {"photographs": 20, "skipped": []}
    assert set(regions["split"]) == {"train", "validation", "test", "unseen"} and set(regions["source"]) == {"holiday"}
    assert regions["photograph"].is_unique, "a folder is divided by photograph"
    row = regions.set_index("photograph").loc["holiday 2.png"]
    assert (row["width"], row["height"]) == (52, 40)
    assert (row["left"], row["top"], row["right"], row["bottom"]) == (0, 0, 52, 40)
    assert photographs.checksum(row["key"]) == row["sha256"]


def test_unreadable_files_are_left_out_by_name_or_stop(tmp_path: Path) -> None:
    mine = user_folder(tmp_path / "mine")
    (mine / "letter.png").write_text("dear")
    config = PhotographsConfig(folder=mine)
    _, report = photograph_regions(config, collected(config, tmp_path / "out"))
    assert [entry["name"] for entry in report["skipped"]] == ["letter.png"]
    assert "cannot be read" in report["skipped"][0]["reason"]
    with pytest.raises(PrefPaintError, match=r"letter\.png"):
        collected(PhotographsConfig(folder=mine, on_unreadable="stop"), tmp_path / "strict")


def test_only_unreadable_files(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in "ab":
        (mine / f"{name}.png").write_text("no image")
    config = PhotographsConfig(folder=mine)
    photographs = collected(config, tmp_path / "out")
    with pytest.raises(PrefPaintError, match="none of the 2 image files"):
        photograph_regions(config, photographs)


def test_a_copy_of_a_photograph_is_left_out_by_name(tmp_path: Path) -> None:
    mine = user_folder(tmp_path / "mine")
    (mine / "trip").mkdir()
    shutil.copy(mine / "holiday 2.png", mine / "trip/copy.PNG")
    config = PhotographsConfig(folder=mine)
    regions, report = photograph_regions(config, collected(config, tmp_path / "out"))
    assert report == {
        "photographs": 4,
        "skipped": [{"name": "trip/copy.PNG", "reason": "trip/copy.PNG: is the same picture as holiday 2.png"}],
    }
    assert "trip/copy.PNG" not in set(regions["photograph"])


def test_a_small_folder_is_cut_into_regions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = PhotographsConfig(folder=user_folder(tmp_path / "mine", 12))
    with caplog.at_level("INFO"):
        regions, _ = photograph_regions(config, collected(config, tmp_path / "out"))
    assert regions["split"].value_counts().to_dict() == {"train": 8, "validation": 8, "test": 8, "unseen": 4}
    assert "8 photographs are too few to divide" in caplog.text


def test_the_embedded_photographs_are_cut_into_regions(tmp_path: Path) -> None:
    config = PhotographsConfig()
    regions, report = photograph_regions(config, collected(config, tmp_path / "out"))
    assert report == {"photographs": 8, "skipped": []}
    unseen = set(regions.loc[regions["split"] == "unseen", "photograph"])
    assert len(unseen) == 3 and not unseen & set(regions.loc[regions["split"] != "unseen", "photograph"])
    assert regions["split"].value_counts().to_dict() == {"train": 5, "validation": 5, "test": 5, "unseen": 3}
    assert set(regions.loc[regions["disparity"], "photograph"]) == {"motorcycle"}


def test_a_changed_folder_is_read_again(tmp_path: Path) -> None:
    config = PhotographsConfig(folder=user_folder(tmp_path / "mine"))
    before = photograph_work(config).fingerprint
    shutil.copy(tmp_path / "mine/holiday 0.png", tmp_path / "mine/z.png")
    assert photograph_work(config).fingerprint != before


def test_keys_are_safe_and_different() -> None:
    names = ["a/b.png", "a_b.png", "ä.jpg", "..png", "astronaut"]
    keys = [photograph_key(name) for name in names]
    assert len(set(keys)) == len(names) and keys[-1] == "astronaut"
    assert all(key and not key.startswith(".") and "/" not in key for key in keys)


@pytest.mark.parametrize("size", ["nativ", 12, 20, [64], [64, 0], [64, 64, 64], True, 64.5, [64, "64"]])
def test_a_size_that_is_none_is_one_sentence(size: object) -> None:
    with pytest.raises(ValidationError) as raised:
        PhotographsConfig.model_validate({"size": size})
    (error,) = raised.value.errors()
    assert error["loc"] == ("size",) and "must be a side, [height, width], or native" in error["msg"]


def test_sizes_are_shapes() -> None:
    shapes = [PhotographsConfig.model_validate({"size": size}).shape for size in (64, [48, 96], "native")]
    assert shapes == [(64, 64), (48, 96), None]


def test_files_that_are_no_pictures_are_counted_but_for_the_table(tmp_path: Path) -> None:
    mine = user_folder(tmp_path / "mine")
    (mine / "words.csv").write_text("image,text_prompt\nholiday 0.png,the sea\n")
    (mine / "masks").mkdir()
    shutil.copy(mine / "holiday 0.png", mine / "masks")
    for name in ("a.cr2", "notes.txt", "._holiday 1.png", "masks/holiday 1.npy"):
        (mine / name).touch()
    config = PhotographsConfig(folder=mine, annotations=mine / "words.csv", masks=mine / "masks")
    _, report = photograph_regions(config, collected(config, tmp_path / "out"))
    assert report == {"photographs": 4, "skipped": [], "others": ["a.cr2", "masks/holiday 1.npy", "notes.txt"]}
    outside = config.model_copy(update={"masks": tmp_path / "masks"})
    shutil.move(mine / "masks", tmp_path / "masks")
    _, report = photograph_regions(outside, collected(outside, tmp_path / "out"))
    assert report["others"] == ["a.cr2", "notes.txt", str(tmp_path / "masks/holiday 1.npy")]
