"""A folder of own pictures: each a scene with files of its own, resumed, with depth from files or a checkpoint."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from kedro.io import DatasetError
from PIL import Image

from prefpaint.applications import reconstruct_collection as collection
from prefpaint.applications.own_pictures import own_depth_file
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.config import fingerprint
from prefpaint.datasets import FoldersDataset
from prefpaint.errors import PrefPaintError
from prefpaint.folders import Folders, FoldersWork, complete_folders
from prefpaint.images import ImageFolder
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.config import MasksConfig
from prefpaint.pipelines.reconstruct import nodes
from tests.applications.test_reconstruct import camera, drawn
from tests.tiny import tiny_reward, write_tiny_depth

FILES = ["aligned.glb", "aligned.ply", "base.glb", "base.ply", "fingerprint.txt", "scene.gif", "scene.mp4"]


def own_folder(folder: Path) -> ReconstructConfig:
    """Two pictures with depth, one below another folder, and two that cannot be used."""
    image, depth, _ = drawn(camera(0))
    for name, picture in (("b", image), ("trip/a", image[:, ::-1])):
        for part in ("pictures", "depth"):
            (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"pictures/{name}.png")
        np.save(folder / f"depth/{name}.npy", depth if name == "b" else depth[:, ::-1])
    (folder / "pictures/broken.jpg").write_bytes(b"no picture")
    Image.fromarray(image).save(folder / "pictures/c without depth.png")
    return ReconstructConfig(
        folder=folder / "pictures", depth=folder / "depth", longest_side=32, frames=5, views=((0.25, 0.0),)
    )


def scenes(config: ReconstructConfig, base: Any, folder: Path, checkpoint: str = "") -> FoldersWork:
    """What the pipeline's node makes; base and aligned are one model."""
    errors: dict[str, Any] = {"level": 0.9, "reward": [[2.0] * 9] * 2, "gain": [[0.0] * 9, [0.5] * 9]}
    masks = MasksConfig.model_validate({"geometry": {"depth_checkpoint": checkpoint}})
    sampling = SamplingConfig(steps=2, batch=4)
    return nodes.make_folder(base, base, tiny_reward(), errors, sampling, masks, config, folder / "workspace")


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_picture_becomes_a_scene(
    tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, base = own_folder(tmp_path), load_pipeline(tiny_base)
    made = Folders(tmp_path / "scenes")
    complete_folders(made, scenes(config, base, tmp_path))
    (key,) = (key for key in made if key.startswith("trip_a_"))
    assert list(made) == ["b", key]
    assert "broken.jpg" in caplog.text and "cannot be read as an image" in caplog.text
    assert f"{tmp_path}/depth/c without depth.png cannot be read" in caplog.text
    for folder in made.values():
        assert sorted(path.name for path in folder.iterdir() if path.is_file()) == FILES
        frames = ImageFolder(folder / "frames")
        assert len(frames) == 5 and frames["frame_0000"].shape == (32, 64, 3)
        first, *fills = trimesh.load(folder / "base.glb").geometry.values()
        assert len(first.faces) == 2 * 32 * 32 and fills
    # Their meshes are each other's mirror images as far as they show the photographs.
    first, second = (trimesh.load(folder / "base.ply").vertices[: 32 * 32] for folder in made.values())
    flipped = second.reshape(32, 32, 3)[:, ::-1].reshape(-1, 3) * [-1, 1, 1]
    np.testing.assert_allclose(np.median(first, 0), np.median(flipped, 0), atol=0.05)

    # A killed run goes on: what is there is not made again, and what is made again has the same bytes.
    before = content(made.path)
    (made["b"] / "fingerprint.txt").unlink()
    wanted = []
    asked: Callable[..., Any] = collection.own_subjects
    monkeypatch.setattr(collection, "own_subjects", lambda files, *rest: wanted.extend(files) or asked(files, *rest))
    complete_folders(made, scenes(config, base, tmp_path))
    assert content(made.path) == before and key not in wanted
    # Another setting makes all of them again; a picture that is gone takes its scene with it.
    (tmp_path / "pictures/b.png").unlink()
    complete_folders(made, scenes(config.model_copy(update={"frames": 6}), base, tmp_path))
    assert list(made) == [key] and len(ImageFolder(made[key] / "frames")) == 6
    assert [path.name for path in (tmp_path / "workspace/folder").iterdir()] == [key]


def test_depth_by_a_checkpoint(tiny_base: Path, tmp_path: Path) -> None:
    """Depth Anything with random weights: depth of the photograph, and of each painted view."""
    write_tiny_depth(tmp_path / "depth_anything", "depth_anything")
    config = own_folder(tmp_path).model_copy(update={"depth": None})
    for other in ("trip/a.png", "c without depth.png"):
        (tmp_path / "pictures" / other).unlink()
    masks = MasksConfig.model_validate({"geometry": {"depth_checkpoint": str(tmp_path / "depth_anything")}})
    subject, name = nodes.prepare_photograph(None, None, None, masks, config)  # type: ignore[arg-type]
    assert name == "b" and subject.source == "estimated" and np.ptp(subject.depth) > 1
    base = load_pipeline(tiny_base)
    made = {}
    for checkpoint in (str(tmp_path / "depth_anything"), ""):
        folders = Folders(tmp_path / f"scenes_{bool(checkpoint)}")
        complete_folders(folders, scenes(config, base, tmp_path, checkpoint))
        assert list(folders) == ["b"]
        made[checkpoint] = content(folders["b"])
        assert made[checkpoint]["base.ply"] == made[checkpoint]["aligned.ply"], "one model, one scene"
    estimated, guessed = made.values()
    assert estimated["base.ply"] != guessed["base.ply"]


def test_the_first_picture_that_can_be_used_is_shown(tmp_path: Path) -> None:
    config = own_folder(tmp_path)
    assert collection.first_subject(config, None)[0] == "b"
    for name in ("b", "trip/a"):
        (tmp_path / f"depth/{name}.npy").unlink()
    with pytest.raises(PrefPaintError, match=r"reconstruct\.folder: no picture in .*pictures can be used"):
        collection.first_subject(config, None)
    with pytest.raises(PrefPaintError, match=r"reconstruct\.folder: .*nowhere is not a folder"):
        collection.own_files(config.model_copy(update={"folder": tmp_path / "nowhere"}))


def test_a_picture_whose_views_leave_the_scene_is_skipped(
    tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = own_folder(tmp_path)
    depth = np.load(tmp_path / "depth/b.npy")
    np.save(tmp_path / "depth/b.npy", 5 * depth - 4.5 * depth.min())
    made = Folders(tmp_path / "scenes")
    far = config.model_copy(update={"views": ((0.95, 0.9),)})
    with caplog.at_level(logging.WARNING):
        complete_folders(made, scenes(far, load_pipeline(tiny_base), tmp_path))
    assert "b" not in made and "b.png: a camera of the path leaves the scene" in caplog.text


def test_depth_of_a_picture_has_its_name(tmp_path: Path) -> None:
    config = own_folder(tmp_path)
    assert config.folder is not None and config.depth is not None
    assert own_depth_file(config.folder / "trip/a.png", config) == config.depth / "trip/a.npy"
    assert own_depth_file(config.folder / "c.png", config) == config.depth / "c.png"
    assert own_depth_file(config.folder / "c.png", config.model_copy(update={"depth": None})) is None


def test_folders_appear_whole_or_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def produce(missing: list[str]) -> Any:
        def fill(folder: Path, name: str) -> None:
            (folder / "file").write_text(name)
            if name == "b":
                raise RuntimeError("killed")

        yield from ((name, lambda folder, name=name: fill(folder, name)) for name in missing)

    dataset = FoldersDataset(str(tmp_path / "all"))
    with pytest.raises(DatasetError, match="is missing; run its pipeline"):
        dataset.load()
    stamps = {name: fingerprint(name) for name in "abc"}
    with pytest.raises(RuntimeError, match="killed"):
        complete_folders(Folders(tmp_path / "all"), FoldersWork(stamps, produce))
    assert sorted(content(tmp_path / "all")) == ["a/file", "a/fingerprint.txt"]
    dataset.save(FoldersWork({"c": stamps["c"]}, produce))
    assert "1 folders of earlier runs do not belong to this one and are removed" in caplog.text
    found = dataset.load()
    assert dict(found) == {"c": tmp_path / "all/c"} and len(found) == 1
    with pytest.raises(KeyError):
        found["a"]
