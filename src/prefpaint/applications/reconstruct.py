"""A three-dimensional scene of one photograph: views are painted one by one, each into the scene the next one sees."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from prefpaint.applications.depth_filling import fill_depth, filled_sheet, outlooks
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import Camera, Seen, Sheet, photograph_sheet, render
from prefpaint.applications.subject import Subject, path_views
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork, complete_folder
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.context import Choose, paint_patches, paste
from prefpaint.masks.depth import DepthEstimator
from prefpaint.progress import Progress

# A view of which less is known shows another place.
LEAST_KNOWN = 0.25
# Holes narrower than this many pixels continue what is around them; wider ones are painted.
CRACK = 3
# Changes whenever the same inputs would give other pictures.
METHOD = 2


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


class LeavesScene(PrefPaintError):
    """A camera looks where nothing is known."""


@dataclass
class Builder:
    """A scene that grows view by view.

    Attributes:
        subject: the photograph.
        views: yaw and pitch, radians; from the outermost of them no fill may hide what was photographed.
        estimate: depth of a painted view by an estimator; None: continued from what is known.
    """

    subject: Subject
    views: Sequence[tuple[float, float]]
    estimate: DepthEstimator | None = None

    def __post_init__(self) -> None:
        one = self.subject
        self.sheets: list[Sheet] = [photograph_sheet(one.image, one.depth, one.focal, one.parallax)]
        limits = [max((abs(view[axis]) for view in self.views), default=0.0) for axis in (0, 1)]
        outer = [view for view in self.views if abs(view[0]) == limits[0] or abs(view[1]) == limits[1]]
        self.before = outlooks(self.sheets[0], [one.camera(*view) for view in outer], one.parallax)

    def see(self, camera: Camera) -> Seen:
        """The scene so far.

        Raises:
            LeavesScene: too little of it is in view.
        """
        seen = render(self.sheets, camera)
        known = 1 - float(seen.hole.mean())
        if known < LEAST_KNOWN:
            raise LeavesScene(
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
        depth = fill_depth(seen, estimate)
        self.sheets.append(filled_sheet(seen, camera, painted, depth, self.subject.parallax, self.before))


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
        subject: of `subject.prepare`.
        views: yaw and pitch, radians, in the order in which their holes are painted.
        seed: of the noise.
        estimate: depth of a painted view by an estimator, such as `masks.depth.checkpoint_depth`; None: continued
            from what is known.
        coarsest, samples, choose: see `inpainting.context.paint_patches`.

    Raises:
        LeavesScene: too little is known in a view.
        PrefPaintError: out of memory.
    """
    builder = Builder(subject, views, estimate)
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
    builder = Builder(subject, views, estimate)

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        kept, paint = set(keys) - set(missing), inpainter()
        growing = Builder(subject, views, estimate)
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
