"""How true a scene is, and how far its views agree."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.applications.novel_view import LEAST_HOLE, WINDOWS_HIGH
from prefpaint.applications.reconstruct import METHOD, paint_holes, reconstruct_in, view_seed
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import Camera, Seen, Sheet, photograph_sheet, render
from prefpaint.applications.subject import Subject, grid_views, prepare
from prefpaint.config import derive_seed, fingerprint
from prefpaint.evaluation.stlpips import ShiftTolerantLPIPS
from prefpaint.fills.differences import hole_psnr, hole_ssim
from prefpaint.images import ImageFolder, ImageWork, complete_folder
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.context import Choose
from prefpaint.masks.depth import depth_from_disparity
from prefpaint.masks.warp import Pose
from prefpaint.progress import Progress
from prefpaint.stats.bootstrap import bootstrap_mean

# A pair of views counts when at least so many filled points are seen from both.
LEAST_SHARED = 50
# Differences of colour below this, grey levels, are equal: it keeps the ratio finite.
LEAST_DIFFERENCE = 0.1


def independent_fills(
    workspace: Path, inpainter: Callable[[], Any], stamp: str, subject: Subject, config: ReconstructConfig
) -> ImageFolder:
    """Every view of the grid painted on its own, from the photograph alone and the same noise; kept in a folder."""
    photograph = [photograph_sheet(subject.image, subject.depth, subject.focal, subject.parallax)]
    views = {f"view_{number:04d}": view for number, view in enumerate(grid_views(config))}

    def produce(missing: Sequence[str]) -> Any:
        paint = inpainter()
        with Progress("independent fills", len(views), len(views) - len(missing)) as progress:
            for key in missing:
                seen = render(photograph, subject.camera(*views[key]))
                yield key, paint_holes(paint, seen, view_seed(config.seed), config.coarsest)
                progress.step()

    work = fingerprint(stamp, subject.digest, list(views.values()), config.seed, config.coarsest, METHOD)
    complete_folder(ImageFolder(workspace), ImageWork(work, list(views), produce))
    return ImageFolder(workspace)


def pair_differences(
    first: tuple[Seen, Camera], second: tuple[Seen, Camera], pictures: Sequence[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """How unlike the same filled points look from two views.

    A point counts if it was filled in both views, and the second sees it within a pixel of where its depth says.

    Args:
        first, second: what two cameras see of one scene.
        pictures: pairs of pictures with these views' geometry, (H, W, 3) uint8.

    Returns:
        (len(pictures),) mean absolute differences, grey levels; NaN where fewer than 50 points count.
    """
    (seen, camera), (other, across) = first, second
    index = np.flatnonzero(seen.filled)
    pixel, depth = across.pixels(camera.to_world(index, seen.depth.reshape(-1)[index]))
    inside = pixel >= 0
    index, pixel, depth = index[inside], pixel[inside], depth[inside]
    there = other.depth.reshape(-1)[pixel]
    same = other.filled.reshape(-1)[pixel] & (np.abs(there - depth) * across.focal < depth * depth.clip(max=1.0))
    index, pixel = index[same], pixel[same]
    if len(index) < LEAST_SHARED:
        return np.full(len(pictures), np.nan)
    flat = [[one.reshape(-1, 3).astype(np.float64) for one in pair] for pair in pictures]
    return np.array([np.abs(here[index] - beyond[pixel]).mean() for here, beyond in flat])


def consistency_metrics(
    sheets: Sequence[Sheet], independent: ImageFolder, subject: Subject, config: ReconstructConfig
) -> dict[str, float | int]:
    """Colour difference of filled points between views of a scene, and between views that were painted on their own.

    Geometry and noise are the same for both. Intervals are over pairs of views of one scene.

    Args:
        sheets: of the scene.
        independent: of `independent_fills`.
        subject, config: of the scene.

    Returns:
        consistency_shared and consistency_independent, grey levels, and consistency_ratio, the geometric mean of how
        many times smaller the first is; each with _low and _high.
    """
    cameras = [subject.camera(*view) for view in grid_views(config)]
    seen = [render(sheets, camera) for camera in cameras]
    alone = independent.stack(independent)
    found = []
    for one, two in combinations(range(len(seen)), 2):
        pictures = [(seen[one].picture, seen[two].picture), (alone[one], alone[two])]
        found.append(pair_differences((seen[one], cameras[one]), (seen[two], cameras[two]), pictures))
    values = np.array(found).reshape(-1, 2)
    values = values[np.isfinite(values).all(1)]
    result: dict[str, float | int] = {"consistency_pairs": len(values)}
    if len(values):
        _add(result, "consistency_shared", values[:, 0], config)
        _add(result, "consistency_independent", values[:, 1], config)
        logs = np.diff(np.log(np.maximum(values, LEAST_DIFFERENCE)), axis=1)[:, 0]
        _add(result, "consistency_ratio", logs, config, np.exp)
    return result


def _add(
    found: dict[str, float | int],
    key: str,
    values: np.ndarray,
    config: ReconstructConfig,
    scale: Callable[[float], float] = float,
) -> None:
    mean = bootstrap_mean(values, config.resamples, derive_seed("bootstrap", config.seed))
    for end, value in (("", mean.value), ("_low", mean.low), ("_high", mean.high)):
        found[key + end] = round(float(scale(value)), 6)


def stereo_scene(
    left: np.ndarray, right: np.ndarray, disparity: np.ndarray, side: int, config: ReconstructConfig
) -> tuple[Subject, np.ndarray, Camera]:
    """A stereo pair's left picture with its depth, the right picture, and the right camera.

    Args:
        left, right: (H, W, 3) uint8, rectified.
        disparity: (H, W) float of the left picture, pixels; NaN and infinity where unknown.
        side: of the model's windows; the pair is resized so that 2.6 of them fit on top of each other.
        config: the left camera's angle.
    """
    height, width = left.shape[:2]
    size = round(width * side * WINDOWS_HIGH / height), round(side * WINDOWS_HIGH)
    known = np.where(np.isfinite(disparity), disparity, np.nan)
    pixels = np.nanmax(known) / depth_from_disparity(known)
    # The unit of depth is the distance between the cameras.
    focal = width / 2 / np.tan(config.field_of_view / 2)
    sized = config.model_copy(update={"longest_side": max(size)})
    subject = prepare(left, focal / pixels, "measured", sized)
    truth = np.asarray(Image.fromarray(right).resize(subject.image.shape[1::-1], Image.Resampling.LANCZOS))
    camera = Camera(Pose(np.eye(3), np.array([-1.0, 0.0, 0.0])), subject.focal, *subject.image.shape[:2])
    return subject, truth, camera


def right_views(
    workspace: Path,
    inpainters: Mapping[str, Callable[[], Any]],
    stamps: Mapping[str, str],
    subject: Subject,
    camera: Camera,
    config: ReconstructConfig,
    choose: Choose | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The right camera's picture by each way to fill what the left one did not see.

    Args:
        workspace: where painted views are kept.
        inpainters, stamps: base and aligned.
        subject, camera: of `stereo_scene`.
        config: seed, detail and samples of the scene; the one warped view is painted once.
        choose: which of several samples to keep.

    Returns:
        The hole, (H, W) uint8, and pictures by method: `telea`, `base` and `aligned` fill the one warped view, `scene`
        is the aligned model's scene of all views, seen from the right; (H, W, 3) uint8.
    """
    seen = render([photograph_sheet(subject.image, subject.depth, subject.focal, subject.parallax)], camera)
    pictures = {"telea": classical_fill("telea", seen.picture, seen.hole)}
    for name, inpainter in inpainters.items():
        pictures[name] = paint_holes(inpainter(), seen, view_seed(config.seed), config.coarsest)
    sheets = reconstruct_in(
        workspace,
        "stereo pair",
        inpainters["aligned"],
        stamps["aligned"],
        subject,
        grid_views(config),
        config,
        choose=choose,
    )
    whole = render(sheets, camera)
    pictures["scene"] = paint_holes(inpainters["aligned"](), whole, view_seed(config.seed), config.coarsest)
    return seen.hole, pictures


def stereo_metrics(
    hole: np.ndarray, pictures: Mapping[str, np.ndarray], truth: np.ndarray, side: int, config: ReconstructConfig
) -> dict[str, float | int]:
    """Likeness of filled pixels to what the right camera saw, window by window.

    Args:
        hole: (H, W) uint8, filled pixels.
        pictures: (H, W, 3) uint8 by method, as `right_views` gives them.
        truth: (H, W, 3) uint8.
        side: of the windows, half a window apart; those with less than 2 % to fill do not count.
        config: of the bootstrap.

    Returns:
        stereo_{psnr, ssim, stlpips}_{method} with intervals over windows, and stereo_{...}_gain_{telea, base}, the
        scene's less that method's, window by window. All windows are of one picture.
    """
    judge = ShiftTolerantLPIPS("alex")
    places = [
        (slice(top, top + side), slice(left, left + side))
        for top in range(0, hole.shape[0] - side + 1, side // 2)
        for left in range(0, hole.shape[1] - side + 1, side // 2)
        if hole[top : top + side, left : left + side].mean() >= LEAST_HOLE
    ]
    found: dict[str, float | int] = {
        "stereo_windows": len(places),
        "stereo_filled_share": round(float(hole.mean()), 6),
    }
    if not places:
        return found
    measures: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
        "psnr": lambda image, true, mask: float(hole_psnr(image[None], true, mask)[0]),
        "ssim": lambda image, true, mask: float(hole_ssim(image[None], true, mask)[0]),
        "stlpips": lambda image, true, mask: float(judge.distance(image[None], true[None])[0]),
    }
    for quantity, measure in measures.items():
        values = {}
        for name, picture in pictures.items():
            # Of pixels that are warped, the truth's own: they are the same for all methods.
            shown = np.where(hole[..., None] > 0, picture, truth)
            values[name] = np.array([measure(shown[cut], truth[cut], hole[cut]) for cut in places])
            _add(found, f"stereo_{quantity}_{name}", values[name], config)
        for other in ("telea", "base"):
            _add(found, f"stereo_{quantity}_gain_{other}", values["scene"] - values[other], config)
    return found


def draw_scene(
    subject: Subject, scenes: Mapping[str, Sequence[Sheet]], name: str, config: ReconstructConfig, shown: int = 5
) -> Any:
    """Views before and after, side by side; a matplotlib Figure.

    Args:
        subject: the photograph.
        scenes: by the model that painted them.
        name: of the photograph.
        config: the views.
        shown: how many views.
    """
    from matplotlib.figure import Figure

    from prefpaint.masks.figures import show_hole

    photograph = next(iter(scenes.values()))[:1]
    views = grid_views(config)[-shown:]
    shape = subject.image.shape[0] / subject.image.shape[1]
    columns = ["what the photograph knows", *scenes]
    figure = Figure(figsize=(3.2 * len(columns), (3.2 * shape + 0.15) * len(views) + 0.5), layout="constrained")
    axes = figure.subplots(len(views), len(columns), squeeze=False)
    for row, (yaw, pitch) in zip(axes, views, strict=True):
        camera = subject.camera(yaw, pitch)
        seen = render(photograph, camera)
        pictures = [show_hole(seen.picture, seen.hole), *(render(one, camera).picture for one in scenes.values())]
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(f"yaw {yaw:+.2f}, pitch {pitch:+.2f}", fontsize=8)
    for axis, title in zip(axes[0], columns, strict=True):
        axis.set_title(title, fontsize=9)
    figure.suptitle(f"{name}, depth {subject.source}", fontsize=10)
    return figure
