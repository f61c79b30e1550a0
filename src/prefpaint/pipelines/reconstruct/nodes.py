"""Nodes of the `reconstruct` pipeline; the work is done in `applications.reconstruct`."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.folders import FoldersWork
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.config import MasksConfig

logger = logging.getLogger(__name__)


def prepare_photograph(
    regions: pd.DataFrame,
    photographs: ImageFolder,
    depth_maps: ImageFolder,
    masks: MasksConfig,
    config: ReconstructConfig,
) -> tuple[Any, str]:
    """The photograph with its depth, and its name."""
    from prefpaint.applications.novel_view import choose_photograph
    from prefpaint.applications.own_pictures import own_picture
    from prefpaint.applications.reconstruct_collection import first_subject
    from prefpaint.applications.subject import prepare
    from prefpaint.masks.depth import decode_depth

    if config.folder is not None:
        name, subject = first_subject(config, _estimator(masks))
        logger.info("%s: depth is %s; the report shows this picture", name, subject.source)
        return subject, name
    if config.picture is not None:
        name = config.picture.name
        image, depth, source = own_picture(config.picture, config.depth, _estimator(masks))
    else:
        key = choose_photograph(regions, depth_maps, config.photograph, "reconstruct")
        row = regions[regions["key"] == key].iloc[0]
        name, image, depth = str(row["photograph"]), photographs[key], decode_depth(depth_maps[key])
        estimated = "estimated" if masks.geometry.depth_checkpoint else "guessed"
        source = "measured" if row["disparity"] else estimated
    logger.info("%s: depth is %s", name, source)
    return prepare(image, depth, source, config), name


def _estimator(masks: MasksConfig) -> Any:
    """What estimates depth; None without a checkpoint."""
    from prefpaint.masks.depth import checkpoint_depth

    checkpoint = masks.geometry.depth_checkpoint
    return checkpoint_depth(checkpoint) if checkpoint else None


def _painters(
    base: Any, aligned: Any, reward_model: Any, sampling: SamplingConfig, masks: MasksConfig, config: ReconstructConfig
) -> tuple[dict[str, Any], dict[str, str]]:
    """What paints, and a stamp of all that its scenes depend on, by the name of the model."""
    from prefpaint.applications.reconstruct import painter
    from prefpaint.inpainting.checkpoint import module_digest
    from prefpaint.inpainting.sampling import painting_digest

    pipes = {"base": base, "aligned": aligned}
    chosen_by = module_digest(reward_model) if config.samples > 1 else ""
    checkpoint = masks.geometry.depth_checkpoint
    stamps = {name: f"{painting_digest(pipe, sampling)} {checkpoint} {chosen_by}" for name, pipe in pipes.items()}
    return {name: painter(pipe, sampling) for name, pipe in pipes.items()}, stamps


def build_scenes(
    base: Any,
    aligned: Any,
    reward_model: Any,
    choice_errors: dict[str, Any],
    subject: Any,
    name: str,
    sampling: SamplingConfig,
    masks: MasksConfig,
    config: ReconstructConfig,
    workspace: Path,
) -> tuple[Any, Any]:
    """The scene as the base and as the aligned model paint it."""
    from prefpaint.applications.best import Chooser
    from prefpaint.applications.reconstruct import reconstruct_in
    from prefpaint.applications.reconstruct_collection import views_folder
    from prefpaint.applications.subject import all_views
    from prefpaint.trust.choice import read_choice_errors

    chooser = Chooser(reward_model, read_choice_errors(choice_errors))
    painters, stamps = _painters(base, aligned, reward_model, sampling, masks, config)
    estimate = _estimator(masks)
    place = workspace if config.folder is None else views_folder(workspace, name)
    base_scene, aligned_scene = (
        reconstruct_in(
            place / model,
            f"scene of the {model} model",
            paint,
            stamps[model],
            subject,
            all_views(config),
            config,
            estimate,
            chooser,
        )
        for model, paint in painters.items()
    )
    return base_scene, aligned_scene


def make_folder(
    base: Any,
    aligned: Any,
    reward_model: Any,
    choice_errors: dict[str, Any],
    sampling: SamplingConfig,
    masks: MasksConfig,
    config: ReconstructConfig,
    workspace: Path,
) -> FoldersWork:
    """The scenes of all pictures of the user's folder, as files; none without a folder."""
    from prefpaint.applications.best import Chooser
    from prefpaint.applications.reconstruct_collection import scenes_work
    from prefpaint.trust.choice import read_choice_errors

    if config.folder is None:
        return FoldersWork({}, lambda missing: ())
    chooser = Chooser(reward_model, read_choice_errors(choice_errors))
    painters, stamps = _painters(base, aligned, reward_model, sampling, masks, config)
    return scenes_work(config, painters, stamps, workspace, _estimator(masks), chooser)


def export_scenes(base_scene: Any, aligned_scene: Any, subject: Any) -> tuple[bytes, bytes, bytes, bytes]:
    """Mesh and points of both."""
    from prefpaint.applications.scene_files import mesh, point_cloud

    scenes = (base_scene, aligned_scene)
    base_mesh, aligned_mesh = (mesh(scene, subject.parallax) for scene in scenes)
    base_points, aligned_points = (point_cloud(scene) for scene in scenes)
    return base_mesh, aligned_mesh, base_points, aligned_points


def render_frames(
    base: Any,
    aligned: Any,
    reward_model: Any,
    base_scene: Any,
    aligned_scene: Any,
    subject: Any,
    sampling: SamplingConfig,
    masks: MasksConfig,
    config: ReconstructConfig,
) -> ImageWork:
    """What a camera that moves about the scenes sees, base on the left and aligned on the right."""
    from prefpaint.applications.reconstruct import METHOD, frames_work
    from prefpaint.config import fingerprint
    from prefpaint.inpainting.checkpoint import module_digest
    from prefpaint.inpainting.sampling import painting_digest

    digests = [painting_digest(pipe, sampling) for pipe in (base, aligned)]
    if config.samples > 1:
        digests.append(module_digest(reward_model))
    stamp = fingerprint(digests, subject.digest, masks.geometry.depth_checkpoint, config, METHOD)
    return frames_work((base_scene, aligned_scene), subject, config, stamp)


def animate(frames: ImageFolder) -> tuple[Iterable[np.ndarray], Iterable[np.ndarray]]:
    """The frames in their order, read one by one, for each kind of file."""
    return frames.values(), frames.values()


def measure(
    base: Any,
    aligned: Any,
    reward_model: Any,
    choice_errors: dict[str, Any],
    base_scene: Any,
    aligned_scene: Any,
    subject: Any,
    name: str,
    sampling: SamplingConfig,
    config: ReconstructConfig,
    workspace: Path,
) -> tuple[dict[str, Any], Any]:
    """How far views agree, how true the right view of the motorcycle is, and a figure."""
    from skimage import data

    from prefpaint.applications import reconstruct_quality as quality
    from prefpaint.applications.best import Chooser
    from prefpaint.applications.reconstruct import painter
    from prefpaint.applications.subject import grid_views
    from prefpaint.inpainting.checkpoint import module_digest
    from prefpaint.inpainting.families.registry import native_size
    from prefpaint.inpainting.sampling import painting_digest
    from prefpaint.trust.choice import read_choice_errors

    chooser = Chooser(reward_model, read_choice_errors(choice_errors))
    chosen_by = module_digest(reward_model) if config.samples > 1 else ""
    pipes = {"base": base, "aligned": aligned}
    painters = {key: painter(pipe, sampling) for key, pipe in pipes.items()}
    stamps = {key: f"{painting_digest(pipe, sampling)} {chosen_by}" for key, pipe in pipes.items()}
    alone = quality.independent_fills(
        workspace / "independent", painters["aligned"], stamps["aligned"], subject, config
    )
    side = native_size(aligned)
    left, right, disparity = data.stereo_motorcycle()
    stereo, truth, camera = quality.stereo_scene(left, right, disparity, side, config)
    hole, pictures = quality.right_views(workspace / "stereo", painters, stamps, stereo, camera, config, chooser)
    height, width = subject.image.shape[:2]
    metrics = {
        "depth": subject.source,
        "views": len(grid_views(config)),
        "frames": config.frames,
        "height": height,
        "width": width,
        "aspect": round(width / height, 6),
        "field_of_view": config.field_of_view,
        "pivot": round(subject.pivot, 6),
        "farthest_yaw": max(abs(yaw) for yaw, _ in grid_views(config)),
        "farthest_pitch": max(abs(pitch) for _, pitch in grid_views(config)),
        "points": sum(int(sheet.own.sum()) for sheet in aligned_scene),
        **quality.consistency_metrics(aligned_scene, alone, subject, config),
        **quality.stereo_metrics(hole, pictures, truth, side, config),
    }
    return metrics, quality.draw_scene(subject, {"base": base_scene, "aligned": aligned_scene}, name, config)
