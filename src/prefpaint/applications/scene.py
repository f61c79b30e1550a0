"""A scene made of pictures with depth, seen from anywhere.

World coordinates are those of the photograph's camera: x to the right, y down, z forward, in the unit of depth. A scene
is a list of sheets: pixels of one view with their depth and colour. The photograph is the first sheet; what was painted
in a view is another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from prefpaint.errors import PrefPaintError
from prefpaint.masks.warp import Pose, splat

# Each pixel is splatted as this many squared points, as in `masks.warp`.
SUPERSAMPLE = 3
# Pixels splatted at a time, so that memory does not grow with the picture.
PIXELS_AT_ONCE = 2**17
# Neighbours belong to different surfaces if the farthest camera sees them part by more than this many pixels more than
# the photograph's does. A surface that steep is seen nearly edge on.
TEAR = 1.5
# Pixels on each side of a tear that may not be told apart from it.
RIM = 2


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; the principal point is the middle of the picture.

    Attributes:
        pose: from the world to the camera.
        focal: focal length, pixels.
        height, width: of the picture, pixels.
    """

    pose: Pose
    focal: float
    height: int
    width: int

    def to_world(self, index: np.ndarray, depth: np.ndarray, supersample: int = 1) -> np.ndarray:
        """Where pixels with depth are.

        Args:
            index: (N,) int, pixels in the order of the flattened picture.
            depth: (N,), distance along the optical axis.
            supersample: points per pixel and direction, all at the pixel's depth.

        Returns:
            (N · supersample², 3) float64, world coordinates.
        """
        rows, columns = np.divmod(index, self.width)
        offsets = (np.arange(supersample) + 0.5) / supersample
        z = np.asarray(depth, np.float64)[:, None, None]
        return self.unproject(
            columns[:, None, None] + offsets[None, None, :], rows[:, None, None] + offsets[None, :, None], z
        )

    def unproject(self, x: np.ndarray, y: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Where places of the picture are.

        Args:
            x, y: pixels from the left and from the top edge of the picture.
            depth: distance along the optical axis; the three broadcast.

        Returns:
            (N, 3) float64, world coordinates.
        """
        slope_x, slope_y = (x - self.width / 2) / self.focal, (y - self.height / 2) / self.focal
        points = np.stack(np.broadcast_arrays(slope_x * depth, slope_y * depth, depth), -1).reshape(-1, 3)
        return (points - self.pose.translation) @ self.pose.rotation

    def from_world(self, points: np.ndarray) -> np.ndarray:
        """World coordinates, (N, 3), in the camera's."""
        return points @ self.pose.rotation.T + self.pose.translation

    def pixels(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the camera sees points.

        Args:
            points: (N, 3), world coordinates.

        Returns:
            The pixel of each, (N,) int64 in the order of the flattened picture, -1 for those it does not see even if
            nothing is in between; and its depth, (N,).
        """
        moved = self.from_world(points)
        front = moved[:, 2] > 1e-6
        safe = np.where(front, moved[:, 2], 1.0)
        u = np.floor(moved[:, 0] / safe * self.focal + self.width / 2)
        v = np.floor(moved[:, 1] / safe * self.focal + self.height / 2)
        inside = front & (u >= 0) & (u < self.width) & (v >= 0) & (v < self.height)
        return np.where(inside, v * self.width + u, -1).astype(np.int64), moved[:, 2]


@dataclass(frozen=True)
class Sheet:
    """Pixels of one view.

    Attributes:
        camera: of the view.
        index: (N,) int64, which pixels, in the order of the flattened picture.
        depth: (N,) float64, along the optical axis.
        behind: (N,) float64, the depth of what they stand in front of, where a tear is close; else their own.
        colours: (N, 3) uint8.
        own: (N,) bool; the others are pixels of other sheets, which only close the mesh.
        filled: whether a model painted it.
    """

    camera: Camera
    index: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    colours: np.ndarray
    own: np.ndarray
    filled: bool


@dataclass(frozen=True)
class Seen:
    """What a camera sees of a scene.

    Attributes:
        picture: (H, W, 3) uint8, 0 in holes.
        depth, behind: (H, W) float64, as in `Sheet`; 0 in holes.
        hole: (H, W) uint8, 1 where there is nothing.
        filled: (H, W) bool, whether a model painted it.
    """

    picture: np.ndarray
    depth: np.ndarray
    behind: np.ndarray
    hole: np.ndarray
    filled: np.ndarray


def check_depth(depth: np.ndarray, height: int, width: int) -> None:
    """Stop where a depth map does not fit its picture.

    Raises:
        PrefPaintError: it has another size, or values that are not above 0.
    """
    if depth.shape != (height, width):
        size = " x ".join(str(side) for side in depth.shape[::-1])
        raise PrefPaintError(f"depth is {size} px, but the picture {width} x {height}; give a depth map of its size")
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise PrefPaintError("depth has values that are not above 0; give a distance to every pixel")


def settle_edges(depth: np.ndarray, parallax: float) -> np.ndarray:
    """Depth whose edges are steps, a pixel outside the object.

    Measured and estimated maps have pixels between an object and what is behind it, which belong to neither and would
    fly between them; they go to the nearer side. Pixels beside an edge mix both colours, and an edge is rarely just
    where the picture has it: the object takes one pixel more, so that its colours do not stay behind as an outline.

    Args:
        depth: (H, W), above 0.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.

    Returns:
        (H, W) float64.
    """
    inverse = 1 / np.asarray(depth, np.float64)
    low, high = (find(inverse, 2 * RIM + 1) for find in (ndimage.minimum_filter, ndimage.maximum_filter))
    between = np.minimum(inverse - low, high - inverse) * parallax > TEAR / 2
    inverse = np.where(between, np.where(high - inverse < inverse - low, high, low), inverse)
    nearest = ndimage.maximum_filter(inverse, 3)
    return np.where((nearest - inverse) * parallax > TEAR, 1 / nearest, 1 / inverse)


def depth_behind(depth: np.ndarray, parallax: float) -> np.ndarray:
    """Depth of what is behind each pixel where a tear is close, its own elsewhere; (H, W) in and out."""
    inverse = 1 / np.asarray(depth, np.float64)
    low = ndimage.minimum_filter(inverse, 2 * RIM + 1)
    return np.where((inverse - low) * parallax > TEAR, 1 / low, 1 / inverse)


def photograph_sheet(image: np.ndarray, depth: np.ndarray, focal: float, parallax: float) -> Sheet:
    """The photograph as a scene of its own.

    Args:
        image: (H, W, 3) uint8.
        depth: (H, W), above 0.
        focal: focal length, pixels.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.

    Raises:
        PrefPaintError: see `check_depth`.
    """
    height, width = image.shape[:2]
    check_depth(depth, height, width)
    camera = Camera(Pose(np.eye(3), np.zeros(3)), focal, height, width)
    everything = np.arange(height * width)
    behind = depth_behind(depth, parallax)
    colours = np.ascontiguousarray(image).reshape(-1, 3)
    own = np.ones(len(everything), bool)
    return Sheet(camera, everything, depth.ravel().astype(np.float64), behind.ravel(), colours, own, False)


def height_width(camera: Camera) -> int:
    """Pixels of a camera's picture."""
    return camera.height * camera.width


def render(sheets: Sequence[Sheet], camera: Camera) -> Seen:
    """What a camera sees, splatted: the photograph and, where it has nothing, the nearest of what was filled.

    Fills are guesses: none of them hides what was photographed, in any view.

    Args:
        sheets: of the scene, the photograph first.
        camera: which sees them.
    """
    count = height_width(camera)
    picture, depth = np.zeros((count, 3), np.uint8), np.full(count, np.inf)
    behind, filled = np.zeros(count), np.zeros(count, bool)
    free = np.ones(count, bool)
    for sheet in sheets:
        # Both motions as one: seen from its own camera, a sheet is where it was, to the last bit.
        rotation = camera.pose.rotation @ sheet.camera.pose.rotation.T
        translation = camera.pose.translation - rotation @ sheet.camera.pose.translation
        own = np.flatnonzero(sheet.own)
        still = Camera(Pose(np.eye(3), np.zeros(3)), sheet.camera.focal, sheet.camera.height, sheet.camera.width)
        for start in range(0, len(own), PIXELS_AT_ONCE):
            part = own[start : start + PIXELS_AT_ONCE]
            points = still.to_world(sheet.index[part], sheet.depth[part], SUPERSAMPLE) @ rotation.T + translation
            pixels, nearest = splat(points, camera.focal, camera.height, camera.width)
            closer = (points[nearest, 2] < depth[pixels]) & free[pixels]
            pixels, nearest = pixels[closer], nearest[closer]
            source = part[nearest // SUPERSAMPLE**2]
            depth[pixels] = points[nearest, 2]
            # What is behind a pixel is taken to be behind it from here too.
            behind[pixels] = points[nearest, 2] * sheet.behind[source] / sheet.depth[source]
            picture[pixels], filled[pixels] = sheet.colours[source], sheet.filled
        if not sheet.filled:
            free &= ~np.isfinite(depth)
    hole = ~np.isfinite(depth)
    shape = camera.height, camera.width
    return Seen(
        picture.reshape(*shape, 3),
        np.where(hole, 0, depth).reshape(shape),
        behind.reshape(shape),
        hole.astype(np.uint8).reshape(shape),
        filled.reshape(shape),
    )
