"""A three-dimensional scene of one photograph: views are painted one by one, each into the scene the next one sees."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from prefpaint.applications.novel_view import camera_path
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import (
    TEAR,
    Camera,
    Seen,
    Sheet,
    check_depth,
    fill_depth,
    filled_sheet,
    photograph_sheet,
    push_behind,
    render,
    settle_edges,
)
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork, complete_folder
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.context import Choose, paint_patches, paste
from prefpaint.masks.depth import DepthEstimator, checkpoint_depth, pseudo_depth
from prefpaint.masks.warp import orbit_pose, view_grid
from prefpaint.photographs.sources import MAX_PIXELS, read_image
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

# A view of which less is known shows another place.
LEAST_KNOWN = 0.25
# Holes narrower than this many pixels continue what is around them; wider ones are painted.
CRACK = 3
# Memory that a scene and its mesh take at their peak, bytes per pixel of the photograph: 923 were measured at 512 px,
# and a second scene is kept beside it.
BYTES_PER_PIXEL = 1200
# Changes whenever the same inputs would give other pictures.
METHOD = 1


@dataclass(frozen=True)
class Subject:
    """A photograph with depth, ready to be seen from elsewhere.

    Attributes:
        image: (H, W, 3) uint8.
        depth: (H, W) float64, its edges settled.
        focal: focal length, pixels.
        pivot: distance of the point that cameras circle.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.
        source: where the depth is from: measured, estimated or guessed.
    """

    image: np.ndarray
    depth: np.ndarray
    focal: float
    pivot: float
    parallax: float
    source: str

    def camera(self, yaw: float, pitch: float) -> Camera:
        """One that circles the pivot; angles in radians, 0 where the photograph was taken."""
        return Camera(orbit_pose(yaw, pitch, self.pivot), self.focal, *self.image.shape[:2])

    @property
    def digest(self) -> str:
        """Of everything that decides what is seen."""
        arrays = [sha256(np.ascontiguousarray(one).tobytes()).hexdigest() for one in (self.image, self.depth)]
        return fingerprint(arrays, self.focal, self.pivot, self.parallax)


def prepare(image: np.ndarray, depth: np.ndarray, source: str, config: ReconstructConfig) -> Subject:
    """A photograph at the configured size, with its camera.

    Args:
        image: (H, W, 3) uint8.
        depth: (H, W), above 0, distance along the optical axis.
        source: where the depth is from.
        config: size and angles.

    Raises:
        PrefPaintError: depth does not fit the picture; or the scene would not fit into memory.
    """
    check_depth(depth, *image.shape[:2])
    height, width = image.shape[:2]
    scale = min(1.0, config.longest_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    check_memory(size[1], size[0])
    if size != (width, height):
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        # Nearest neighbour: blended depth would invent surfaces between near and far.
        rows, columns = (
            np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
            for new, old in ((size[1], height), (size[0], width))
        )
        depth = depth[np.ix_(rows, columns)]
    height, width = image.shape[:2]
    focal = width / 2 / float(np.tan(config.field_of_view / 2))
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    pivot = float(np.median(depth[middle]))
    farthest = max((np.hypot(*view) for view in all_views(config)), default=0.0)
    parallax = focal * pivot * float(farthest)
    if float(np.ptp(1 / depth)) * parallax < TEAR:
        logger.warning("the depth is flat: nothing hides anything, and only the picture's border is painted")
    return Subject(image, settle_edges(depth, parallax), focal, pivot, parallax, source)


def read_depth(path: Path) -> np.ndarray:
    """A depth map from a file, (H, W) float64 above 0; what is unknown is taken from its nearest known neighbour.

    Args:
        path: a 16-bit PNG or TIFF, or a .npy file; larger is farther; 0, infinity and NaN are unknown.

    Raises:
        PrefPaintError: it cannot be read, is not one map, or knows nothing.
    """
    try:
        if path.suffix == ".npy":
            depth = np.load(path, allow_pickle=False)
        else:
            with Image.open(path) as opened:
                depth = np.asarray(opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise PrefPaintError(
            f"reconstruct.depth: {path} cannot be read ({error}); give a 16-bit PNG or TIFF, or a .npy file"
        ) from error
    if depth.ndim != 2 or depth.dtype == bool or depth.dtype.kind not in "fui":
        raise PrefPaintError(
            f"reconstruct.depth: {path} holds {depth.dtype} of shape {depth.shape}; give one number for each pixel"
        )
    values = depth.astype(np.float64)
    unknown = ~np.isfinite(values) | (values <= 0)
    if unknown.all():
        raise PrefPaintError(f"reconstruct.depth: {path} has no value above 0; give the distance to each pixel")
    nearest = ndimage.distance_transform_edt(unknown, return_distances=False, return_indices=True)
    return values[tuple(nearest)]


def own_picture(config: ReconstructConfig, checkpoint: str) -> tuple[np.ndarray, np.ndarray, str]:
    """The configured picture of the user's own, its depth, and where that is from.

    Args:
        config: with a picture.
        checkpoint: for depth estimation, "" for none.

    Returns:
        (H, W, 3) uint8, (H, W) above 0, and measured, estimated or guessed.

    Raises:
        PrefPaintError: a file cannot be read, or depth does not fit the picture.
    """
    assert config.picture is not None
    # Whole, so that its depth can be compared with it; `prepare` reduces both.
    image = np.asarray(read_image(config.picture, MAX_PIXELS))
    if config.depth is not None:
        depth, source = read_depth(config.depth), "measured"
        try:
            check_depth(depth, *image.shape[:2])
        except PrefPaintError as error:
            raise PrefPaintError(f"reconstruct.depth: {config.depth}: {error}") from error
    elif checkpoint:
        depth, source = checkpoint_depth(checkpoint)(image), "estimated"
    else:
        depth, source = pseudo_depth(image), "guessed"
    return image, depth, source


def check_memory(height: int, width: int) -> None:
    """Stop before a scene that would not fit into memory.

    Raises:
        PrefPaintError: it would not; with the numbers.
    """
    needed = height * width * BYTES_PER_PIXEL
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > total:
        raise PrefPaintError(
            f"a scene of {width} x {height} px needs about {needed / 2**30:.1f} GB of memory, and this machine has "
            f"{total / 2**30:.1f} GB; lower reconstruct.longest_side"
        )


def grid_views(config: ReconstructConfig) -> list[tuple[float, float]]:
    """The views whose holes are painted first: as configured, or the 3 x 3 grid from the middle outwards."""
    return list(config.views) or sorted(view_grid(config.yaw, config.pitch), key=lambda view: np.hypot(*view))


def path_views(config: ReconstructConfig) -> list[tuple[float, float]]:
    """Yaw and pitch of every frame of the animation."""
    yaw, pitch = (max(abs(view[axis]) for view in grid_views(config)) for axis in (0, 1))
    # Corners of the path lie inside the grid.
    return camera_path(config.frames, yaw, 0.7 * pitch)


def all_views(config: ReconstructConfig) -> list[tuple[float, float]]:
    """Views in the order in which they are painted: those that see most first, so that frames find little to do."""
    return [*grid_views(config), *path_views(config)]


def paint_holes(
    inpainter: Any,
    seen: Seen,
    seed: int,
    coarsest: float = 2.0,
    samples: int = 1,
    choose: Choose | None = None,
) -> np.ndarray:
    """A view with its holes painted, (H, W, 3) uint8; what is known keeps its bytes.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`.
        seen: the view.
        seed: of the noise.
        coarsest, samples, choose: see `inpainting.context.paint_patches`.
    """
    wide = ndimage.binary_opening(seen.hole, np.ones((CRACK, CRACK))).astype(np.uint8)
    # A crack in a surface is a matter of resampling, not of imagination.
    painted = classical_fill("telea", seen.picture, seen.hole) if (seen.hole > wide).any() else seen.picture.copy()
    if wide.any():
        for patch in paint_patches(inpainter, painted, wide, seed, samples=samples, choose=choose, coarsest=coarsest):
            paste(painted, patch)
    return np.where(seen.hole[..., None] > 0, painted, seen.picture)


@dataclass
class Builder:
    """A scene that grows view by view.

    Attributes:
        subject: the photograph.
        estimate: depth of a painted view by an estimator; None: continued from what is known.
    """

    subject: Subject
    estimate: DepthEstimator | None = None

    def __post_init__(self) -> None:
        one = self.subject
        self.sheets: list[Sheet] = [photograph_sheet(one.image, one.depth, one.focal, one.parallax)]

    def see(self, camera: Camera) -> Seen:
        """The scene so far.

        Raises:
            PrefPaintError: too little of it is in view.
        """
        seen = render(self.sheets, camera)
        known = 1 - float(seen.hole.mean())
        if known < LEAST_KNOWN:
            raise PrefPaintError(
                f"a camera of the path leaves the scene: it sees {100 * known:.0f} % of its picture, and at least "
                f"{100 * LEAST_KNOWN:.0f} % are needed; lower reconstruct.yaw and pitch, or put views in between into "
                "reconstruct.views"
            )
        return seen

    def add(self, camera: Camera, seen: Seen, painted: np.ndarray) -> None:
        """Put what was painted in a view into the scene.

        Args:
            camera: of the view.
            seen: the view before it was painted.
            painted: (H, W, 3) uint8, its holes painted.
        """
        if not seen.hole.any():
            return
        estimate = self.estimate(painted) if self.estimate else None
        depth = push_behind(fill_depth(seen, estimate), seen.hole, camera, self.sheets[0])
        self.sheets.append(filled_sheet(seen, camera, painted, depth, self.subject.parallax))


def reconstruct(
    inpainter: Any,
    subject: Subject,
    views: Sequence[tuple[float, float]],
    seed: int,
    *,
    estimate: DepthEstimator | None = None,
    coarsest: float = 2.0,
    samples: int = 1,
    choose: Choose | None = None,
) -> list[Sheet]:
    """The scene of a photograph, holes painted once and shared by all views.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`.
        subject: of `prepare`.
        views: yaw and pitch, radians, in the order in which their holes are painted.
        seed: of the noise.
        estimate: depth of a painted view by an estimator, such as `masks.depth.checkpoint_depth`; None: continued
            from what is known.
        coarsest, samples, choose: see `inpainting.context.paint_patches`.

    Raises:
        PrefPaintError: a view leaves the scene; or out of memory.
    """
    builder = Builder(subject, estimate)
    for yaw, pitch in views:
        camera = subject.camera(yaw, pitch)
        seen = builder.see(camera)
        builder.add(camera, seen, paint_holes(inpainter, seen, view_seed(seed), coarsest, samples, choose))
    return builder.sheets


def view_seed(seed: int) -> int:
    """The same for all views, as in `novel_view`."""
    return derive_seed("view", seed)


def reconstruct_in(
    workspace: Path,
    title: str,
    inpainter: Callable[[], Any],
    stamp: str,
    subject: Subject,
    views: Sequence[tuple[float, float]],
    config: ReconstructConfig,
    estimate: DepthEstimator | None = None,
    choose: Choose | None = None,
) -> list[Sheet]:
    """The same, painted views kept in a folder: a killed run resumes where it was, and ends in the same scene.

    Args:
        workspace: the folder.
        title: what is being done.
        inpainter: makes what paints, if there is something to paint.
        stamp: of everything that the inpainter's pictures depend on.
        subject, views, estimate, choose: see `reconstruct`.
        config: seed, detail and samples.
    """
    keys = [f"view_{number:04d}" for number in range(len(views))]
    folder = ImageFolder(workspace)
    common = fingerprint(
        stamp,
        subject.digest,
        [list(view) for view in views],
        config.model_dump(mode="json", include={"seed", "coarsest", "samples"}),
        METHOD,
    )
    # With one sample there is nothing to choose.
    kept_by = choose if config.samples > 1 else None
    builder = Builder(subject, estimate)

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        kept, paint = set(keys) - set(missing), inpainter()
        growing = Builder(subject, estimate)
        with Progress(title, len(keys), len(kept)) as progress:
            for key, view in zip(keys, views, strict=True):
                camera = subject.camera(*view)
                seen = growing.see(camera)
                painted = (
                    folder[key]
                    if key in kept
                    else paint_holes(paint, seen, view_seed(config.seed), config.coarsest, config.samples, kept_by)
                )
                growing.add(camera, seen, painted)
                if key not in kept:
                    yield key, painted
                    progress.step()
        builder.sheets = growing.sheets

    complete_folder(folder, ImageWork(common, keys, produce))
    if len(builder.sheets) == 1:
        for key, view in zip(keys, views, strict=True):
            camera = subject.camera(*view)
            seen = builder.see(camera)
            builder.add(camera, seen, folder[key])
    return builder.sheets


def painter(pipe: Any, sampling: SamplingConfig) -> Callable[[], Any]:
    """Makes what paints one crop at a time."""

    def make() -> Any:
        from prefpaint.inpainting.sampling import Inpainter

        return Inpainter(pipe, sampling)

    return make


def frames_work(
    scenes: Sequence[Sequence[Sheet]], subject: Subject, config: ReconstructConfig, stamp: str
) -> ImageWork:
    """Frames of the animation, the scenes side by side.

    Args:
        scenes: finished scenes of one photograph.
        subject: the photograph.
        config: the path.
        stamp: of everything that the scenes depend on.
    """
    path = {f"frame_{number:04d}": view for number, view in enumerate(path_views(config))}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key in missing:
            camera = subject.camera(*path[key])
            yield key, np.concatenate([render(sheets, camera).picture for sheets in scenes], 1)

    return ImageWork(fingerprint(stamp, list(path.values())), list(path), produce)
