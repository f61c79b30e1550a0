"""Datasets write whole files and folders, resume image folders, and say what is wrong in one sentence."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from prefpaint.datasets import (
    DiffusersPipelineDataset,
    FigureDataset,
    ImageFolderDataset,
    JSONDataset,
    PretrainedDataset,
    TableDataset,
    TextDataset,
    WorkspaceDataset,
)
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork, complete_folder, in_order
from tests.conftest import REPOSITORY

TABLE = pd.DataFrame({"name": ["a", "b"], "value": [1.5, 2.5]})


def figure() -> Figure:
    drawn = Figure(figsize=(1, 1))
    drawn.subplots().plot([0, 1])
    return drawn


def solid(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_files_round_trip(tmp_path: Path) -> None:
    TableDataset(str(tmp_path / "t.parquet")).save(TABLE)
    pd.testing.assert_frame_equal(TableDataset(str(tmp_path / "t.parquet")).load(), TABLE)
    fractions = pd.DataFrame({"name": ["a, b", "c"], "x": [1 / 3, 0.1 + 0.2], "n": [1, 2]})
    TableDataset(str(tmp_path / "t.csv")).save(fractions)
    pd.testing.assert_frame_equal(TableDataset(str(tmp_path / "t.csv")).load(), fractions, check_exact=True)
    for dataset, content in ((JSONDataset, {"b": [1, None], "a": "é"}), (TextDataset, "<p>é</p>")):
        dataset(str(tmp_path / "x")).save(content)
        assert dataset(str(tmp_path / "x")).load() == content


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in "12":
        JSONDataset(str(tmp_path / f"{number}.json")).save({"b": 1, "a": 2} if number == "1" else {"a": 2, "b": 1})
        TableDataset(str(tmp_path / f"{number}.parquet")).save(TABLE)
        FigureDataset(str(tmp_path / f"{number}.png")).save(figure())
    for ending in ("json", "parquet", "png"):
        assert (tmp_path / f"1.{ending}").read_bytes() == (tmp_path / f"2.{ending}").read_bytes()


def test_previews_for_kedro_viz(tmp_path: Path) -> None:
    import inspect

    content = {TableDataset: TABLE, JSONDataset: {"a": 1}, FigureDataset: figure()}
    kinds = {TableDataset: "TablePreview", JSONDataset: "JSONPreview", FigureDataset: "ImagePreview"}
    for kind, data in content.items():
        dataset = kind(str(tmp_path / kind.__name__))
        dataset.save(data)
        assert dataset.preview()
        assert inspect.signature(dataset.preview).return_annotation.__name__ == kinds[kind]


@pytest.mark.parametrize("kind", [TableDataset, JSONDataset])
def test_a_damaged_file_is_named(tmp_path: Path, kind: type) -> None:
    (tmp_path / "x").write_bytes(b"PAR1 no")
    with pytest.raises(DatasetError, match=r"x: cannot be read") as caught:
        kind(str(tmp_path / "x")).load()
    assert isinstance(caught.value.__cause__, PrefPaintError)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TableDataset(str(tmp_path / "t.parquet"))
    dataset.save(TABLE)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left on device"):
        dataset.save(TABLE.iloc[:1])
    pd.testing.assert_frame_equal(dataset.load(), TABLE)
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_a_full_disk_under_torch_is_told_by_the_systems_own_words(tmp_path: Path) -> None:
    code = (
        "import torch, pathlib; from prefpaint.files import save_state;"
        f"save_state({{'x': torch.zeros(100_000)}}, pathlib.Path({str(tmp_path / 'state.pt')!r}))"
    )
    limited = ["prlimit", "--fsize=20000", sys.executable, "-c", code]
    done = subprocess.run(limited, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert "PrefPaintError" in done.stderr and "File too large" in done.stderr
    assert not any(tmp_path.iterdir())


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def numbered(count: int, fingerprint: str, asked: list[str], stop_after: int = 99, value: int = 0) -> ImageWork:
    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for number, key in enumerate(missing):
            if number == stop_after:
                raise Killed
            asked.append(key)
            yield key, solid(value)

    return ImageWork(fingerprint, [f"image_{i}" for i in range(count)], produce)


def test_a_killed_folder_goes_on_where_it_stopped(tmp_path: Path) -> None:
    dataset = ImageFolderDataset(str(tmp_path / "images"))
    with pytest.raises(Killed):
        dataset.save(numbered(5, "one", [], stop_after=2))
    # What a write that was cut off by the kill leaves.
    (tmp_path / "images/.image_2.png.123.tmp").write_bytes(b"half")
    asked: list[str] = []
    dataset.save(numbered(5, "one", asked))
    assert asked == ["image_2", "image_3", "image_4"]
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "fingerprint.txt",
        *(f"image_{i}.png" for i in range(5)),
    ]


def test_another_fingerprint_starts_afresh_and_other_keys_leave_nothing_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = ImageFolderDataset(str(tmp_path / "images"))
    dataset.save(numbered(5, "one", []))
    asked: list[str] = []
    dataset.save(numbered(3, "two", asked, value=9))
    assert "2 pictures of earlier runs do not belong to this one and are removed" in caplog.text
    assert asked == ["image_0", "image_1", "image_2"]
    loaded = dataset.load()
    assert list(loaded) == asked and (loaded["image_1"] == 9).all()


def test_images_with_fingerprints_of_their_own_start_afresh_by_themselves(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path)

    def made(prints: dict[str, str]) -> list[str]:
        asked: list[str] = []

        def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
            asked.extend(missing)
            return ((key, solid(0)) for key in missing)

        complete_folder(folder, ImageWork(prints, list(prints), produce))
        assert sorted(folder) == sorted(prints)
        return asked

    assert made({"a": "one", "ab": "one", "c": "two"}) == ["a", "ab", "c"]
    assert made({"a": "two", "ab": "one", "c": "two"}) == ["a"]
    assert made({"a": "two", "ab": "one", "c": "two", "d": "one"}) == ["d"]
    assert made({"ab": "one", "d": "one"}) == []
    assert made({"a": "two", "ab": "two", "d": "one"}) == ["a", "ab"]
    assert made({}) == []


def test_a_folder_of_nothing_is_there(tmp_path: Path) -> None:
    for prints in ("one", {}):
        dataset = ImageFolderDataset(str(tmp_path / f"{len(prints)}"))
        dataset.save(ImageWork(prints, [], lambda missing: []))
        assert len(dataset.load()) == 0


def test_image_folders_hold_masks_and_16_bit_maps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    mask, depth = rng.integers(0, 2, (5, 6)).astype(np.uint8), rng.integers(1, 65536, (5, 6)).astype(np.uint16)
    for name, image in (("mask", mask), ("depth", depth)):
        dataset = ImageFolderDataset(str(tmp_path / name), masks=name == "mask")
        dataset.save(ImageWork("x", ["a"], lambda missing, image=image: [(key, image) for key in missing]))
        np.testing.assert_array_equal(dataset.load()["a"], image)
        assert dataset.load()["a"].dtype == image.dtype


def test_a_folder_that_was_never_saved_does_not_exist(tmp_path: Path) -> None:
    assert not ImageFolderDataset(str(tmp_path)).exists()
    with pytest.raises(DatasetError, match="is missing"):
        ImageFolderDataset(str(tmp_path)).load()


def test_workspace_is_made_on_load(tmp_path: Path) -> None:
    dataset = WorkspaceDataset(str(tmp_path / "a/b"))
    assert dataset.exists() and dataset.load().is_dir()
    with pytest.raises(DatasetError, match="filled by its node"):
        dataset.save(1)


class Saved:
    """A model that fits into a text file."""

    def __init__(self, value: int) -> None:
        self.value = value

    def save_pretrained(self, folder: Path) -> None:
        (folder / "value.txt").write_text(str(self.value))
        if self.value < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Saved":
        return cls(int((folder / "value.txt").read_text()))


def test_model_folders_are_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "saved_model", sys.modules[__name__])
    dataset = PretrainedDataset(str(tmp_path / "model"), "saved_model.Saved")
    dataset.save(Saved(1))
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save(Saved(-1))
    assert dataset.load().value == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_checkpoint_round_trip_in_half_precision(tiny_base: Path, tmp_path: Path) -> None:
    import torch
    from safetensors import safe_open

    from prefpaint.inpainting.checkpoint import weights_digest

    pipe = DiffusersPipelineDataset(str(tiny_base)).load()
    assert {module.dtype for module in (pipe.unet, pipe.vae, pipe.text_encoder)} == {torch.float32}
    DiffusersPipelineDataset(str(tmp_path / "copy"), dtype="float16").save(pipe)
    assert pipe.unet.dtype == torch.float32
    with safe_open(tmp_path / "copy/unet/diffusion_pytorch_model.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
    assert weights_digest(DiffusersPipelineDataset(str(tmp_path / "copy")).load()) == weights_digest(pipe)
    configurations = "".join(path.read_text() for path in (tmp_path / "copy").rglob("*.json"))
    assert str(tiny_base) not in configurations, "no path of this machine"


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("model_index.json", "model_index.json: is missing"),
        ("unet/diffusion_pytorch_model.safetensors", "unet: its weights"),
        ("vae/config.json", "vae: its configuration file is missing"),
    ],
)
def test_a_missing_file_of_a_checkpoint_is_named(tiny_base: Path, tmp_path: Path, missing: str, named: str) -> None:
    import shutil

    folder = shutil.copytree(tiny_base, tmp_path / "base")
    (folder / missing).unlink()
    with pytest.raises(DatasetError, match=named) as caught:
        DiffusersPipelineDataset(str(folder)).load()
    assert isinstance(caught.value.__cause__, PrefPaintError)
    assert "\n" not in str(caught.value.__cause__)


def test_truncated_weights_are_one_sentence(tiny_base: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(tiny_base, tmp_path / "base")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="cannot be loaded as an inpainting checkpoint") as caught:
        DiffusersPipelineDataset(str(folder)).load()
    assert "\n" not in str(caught.value.__cause__)


def test_checkpoint_index_is_plain_diffusers(tiny_base: Path) -> None:
    index = json.loads((tiny_base / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionInpaintPipeline"
    assert all(
        origin[0] in (None, "diffusers", "transformers") for origin in index.values() if isinstance(origin, list)
    )


def test_batches_hold_pictures_of_one_shape(tmp_path: Path) -> None:
    folder = ImageFolder(tmp_path / "images")
    shapes = {"a": (16, 32), "b": (16, 16), "c": (16, 32), "d": (16, 32), "e": (16, 16)}
    keys = list(shapes)
    pictures = {key: np.full((*shape, 3), ord(key), np.uint8) for key, shape in shapes.items()}
    complete_folder(folder, ImageWork("x", keys, lambda missing: ((key, pictures[key]) for key in missing)))
    assert folder.shapes(["c", "b", "c"]) == [(16, 32), (16, 16), (16, 32)]
    batches = folder.batches(keys, 2)
    assert [places.tolist() for places in batches] == [[0, 2], [3], [1, 4]]
    values = [folder.stack(keys[place] for place in places)[:, 0, 0, 0] for places in batches]
    assert in_order(batches, values).tolist() == [ord(key) for key in keys]
    with pytest.raises(PrefPaintError, match=r"f\.png: is missing; run its pipeline again"):
        folder.shapes(["f"])
    folder.file("a").write_bytes(b"")
    with pytest.raises(PrefPaintError, match=r"a\.png: is damaged .*; remove it and run its pipeline again"):
        folder.batches(keys, 2)
