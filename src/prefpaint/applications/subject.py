"""A photograph with depth, and from where it is seen."""

import contextlib
import logging
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from prefpaint.applications.novel_view import camera_path
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.scene import TEAR, Camera, check_depth, settle_edges
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.masks.warp import orbit_pose, view_grid

logger = logging.getLogger(__name__)

# Bytes per pixel of the photograph. On the motorcycle at 512 px 1,460 were measured while a scene was built and its
# mesh made; a second scene beside it takes 90 more, and the files of both are in memory at once.
BYTES_PER_PIXEL, MESH_BYTES, POINTS_BYTES = 1750, 170, 40
# The same for each view, rendered to see whether anything hides what was photographed.
VIEW_BYTES = 4


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
    check_memory(size[1], size[0], len(all_views(config)))
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


def check_memory(height: int, width: int, views: int) -> None:
    """Stop before a scene that would not fit into free memory.

    Args:
        height, width: of the photograph, pixels.
        views: how many are painted.

    Raises:
        PrefPaintError: it would not; with the numbers.
    """
    pixels, giga = height * width, 1e9
    files = 2 * pixels * (MESH_BYTES + POINTS_BYTES)
    needed, free = pixels * (BYTES_PER_PIXEL + VIEW_BYTES * views) + files, free_memory()
    if needed > free:
        raise PrefPaintError(
            f"two scenes of {width} x {height} px from {views} views need about {needed / giga:.1f} GB of memory, "
            f"{files / giga:.1f} GB of it for their meshes (GLB) and points (PLY), and {free / giga:.1f} GB are free; "
            "lower reconstruct.longest_side"
        )


def free_memory() -> int:
    """Bytes of memory that this process may still take, of the machine and of its control group (cgroup v2)."""
    group = Path("/sys/fs/cgroup")
    with open("/proc/meminfo") as lines:
        # Free, or taken by caches that give it back; in kB.
        free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    # Unless there is no group, or one without a limit ("max").
    with contextlib.suppress(OSError, ValueError):
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


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
