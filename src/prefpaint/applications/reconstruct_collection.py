"""A folder of pictures, each made into a scene of its own, one after another."""

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefpaint.animations import write_animation
from prefpaint.applications.own_pictures import own_depth_file, own_picture
from prefpaint.applications.reconstruct import METHOD, LeavesScene, frames_work, reconstruct_in
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import Sheet
from prefpaint.applications.scene_files import mesh, point_cloud
from prefpaint.applications.subject import Subject, all_views, prepare
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.folders import FoldersWork
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.context import Choose
from prefpaint.masks.depth import DepthEstimator
from prefpaint.photographs.collection import keyed_files
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)


def own_files(config: ReconstructConfig) -> dict[str, Path]:
    """The files of the configured folder by key, in order; none without a folder.

    Raises:
        PrefPaintError: the folder does not exist or holds no image file.
    """
    return keyed_files(config.folder, "reconstruct.folder") if config.folder is not None else {}


def own_subjects(
    files: Mapping[str, Path], config: ReconstructConfig, estimate: DepthEstimator | None
) -> Iterator[tuple[str, Subject]]:
    """Pictures with depth by key, one in memory at a time; what cannot be used is skipped with a warning.

    Args:
        files: of `own_files`.
        config: size and angles, and where depth maps are.
        estimate: of depth where it was not measured; None: guessed.
    """
    for key, path in files.items():
        try:
            yield key, prepare(*own_picture(path, own_depth_file(path, config), estimate), config)
        except PrefPaintError as error:
            logger.warning("%s: %s; it is skipped", path.name, error)


def first_subject(config: ReconstructConfig, estimate: DepthEstimator | None) -> tuple[str, Subject]:
    """The first picture of the folder that can be used, with its key.

    Raises:
        PrefPaintError: there is none.
    """
    for key, subject in own_subjects(own_files(config), config, estimate):
        return key, subject
    raise PrefPaintError(f"reconstruct.folder: no picture in {config.folder} can be used; see the warnings above")


def views_folder(workspace: Path, key: str) -> Path:
    """Where the painted views of a picture of the folder are kept."""
    return workspace / "folder" / key


def scenes_work(
    config: ReconstructConfig,
    painters: Mapping[str, Callable[[], Any]],
    stamps: Mapping[str, str],
    workspace: Path,
    estimate: DepthEstimator | None = None,
    choose: Choose | None = None,
) -> FoldersWork:
    """A folder of files for each picture: NAME.glb and NAME.ply for each model, the animation and its frames.

    Args:
        config: which pictures, and how.
        painters: what paints, by the name of the model.
        stamps: of everything that each one's pictures depend on, the depth checkpoint among them.
        workspace: where painted views are kept.
        estimate: of depth where it was not measured; None: guessed.
        choose: which of several samples to keep.
    """
    files = own_files(config)
    common = config.model_dump(mode="json", exclude={"photograph", "picture", "depth", "folder", "resamples"})
    marks = {}
    for key, path in files.items():
        own = [file.stat() for file in (path, own_depth_file(path, config)) if file is not None and file.exists()]
        marks[key] = fingerprint(common, stamps, [(one.st_size, one.st_mtime_ns) for one in own], METHOD)

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, Callable[[Path], None]]]:
        _forget(workspace, files)
        with Progress("scenes", len(files), len(files) - len(missing)) as progress:
            for key, subject in own_subjects({key: files[key] for key in missing}, config, estimate):
                try:
                    scenes = {
                        name: reconstruct_in(
                            views_folder(workspace, key) / name,
                            f"{key}: scene of the {name} model",
                            paint,
                            stamps[name],
                            subject,
                            all_views(config),
                            config,
                            estimate,
                            choose,
                        )
                        for name, paint in painters.items()
                    }
                except LeavesScene as error:
                    logger.warning("%s: %s; it is skipped", files[key].name, error)
                    continue
                yield key, _Writer(scenes, subject, config, marks[key])
                progress.step()

    return FoldersWork(marks, produce)


class _Writer:
    """Puts the files of finished scenes into a folder."""

    def __init__(
        self, scenes: Mapping[str, Sequence[Sheet]], subject: Subject, config: ReconstructConfig, stamp: str
    ) -> None:
        self._scenes, self._subject, self._config, self._stamp = scenes, subject, config, stamp

    def __call__(self, folder: Path) -> None:
        for name, sheets in self._scenes.items():
            (folder / f"{name}.glb").write_bytes(mesh(sheets, self._subject.parallax))
            (folder / f"{name}.ply").write_bytes(point_cloud(sheets))
        frames = ImageFolder(folder / "frames")
        complete_folder(frames, frames_work(list(self._scenes.values()), self._subject, self._config, self._stamp))
        for name in ("scene.gif", "scene.mp4"):
            write_animation(frames.values(), folder / name, folder / name)


def _forget(workspace: Path, files: Mapping[str, Path]) -> None:
    """Remove the views of pictures that are no longer in the folder."""
    kept = views_folder(workspace, "").iterdir() if views_folder(workspace, "").is_dir() else ()
    for path in kept:
        if path.name not in files:
            shutil.rmtree(path)
