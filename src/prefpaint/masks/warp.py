"""View-change holes: what a moved pinhole camera sees of a photograph with depth (paper, section 4.1).

Forward splatting with a z-buffer: every source pixel is put where the new camera sees it, the nearest
surface wins, and what no surface reaches is a hole.
"""

import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pose:
    """A rigid motion of the scene in camera coordinates: p' = rotation @ p + translation.

    Attributes:
        rotation: (3, 3).
        translation: (3,), in the unit of depth.
    """

    rotation: np.ndarray
    translation: np.ndarray


def orbit_pose(yaw: float, pitch: float, pivot_depth: float) -> Pose:
    """The camera circles a point on its axis and keeps looking at it.

    Args:
        yaw: turn about the vertical axis, radians.
        pitch: turn about the horizontal axis, radians.
        pivot_depth: distance of that point, in the unit of depth.
    """
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    rotation = about_x @ about_y
    pivot = np.array([0, 0, pivot_depth])
    return Pose(rotation, pivot - rotation @ pivot)


def view_grid(yaw: float, pitch: float) -> list[tuple[float, float]]:
    """The paper's nine views: (yaw, pitch) over {-1, 0, 1}² times the given extremes, in radians."""
    return [(yaw * i, pitch * j) for j, i in itertools.product((-1, 0, 1), repeat=2)]


def warp_view(
    image: np.ndarray, depth: np.ndarray, pose: Pose, focal: float, supersample: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Render an image with depth from another pose.

    Args:
        image: (H, W, 3) uint8.
        depth: (H, W) float, distance along the optical axis, positive.
        pose: motion of the scene relative to the camera.
        focal: focal length in pixels; the principal point is the image's centre.
        supersample: each pixel is splatted as this many squared points, so that a surface seen up to
            this many times larger stays closed.

    Returns:
        The warped image (H, W, 3) uint8, 0 in holes, and the mask (H, W) uint8, 1 in holes.
    """
    height, width = depth.shape
    # Nearest-neighbour supersampling: blended depth would invent surfaces between near and far.
    offsets = (np.arange(supersample) + 0.5) / supersample
    ys = (np.arange(height)[:, None] + offsets).ravel()
    xs = (np.arange(width)[:, None] + offsets).ravel()
    rows, columns = ys.astype(int), xs.astype(int)
    z = depth[np.ix_(rows, columns)].astype(np.float64)
    points = np.stack(
        [
            (xs[None, :] - width / 2) / focal * z,
            (ys[:, None] - height / 2) / focal * z,
            z,
        ],
        axis=-1,
    ).reshape(-1, 3)
    moved = points @ pose.rotation.T + pose.translation
    seen, nearest = splat(moved, focal, height, width)
    warped = np.zeros((height * width, 3), np.uint8)
    warped[seen] = image[np.ix_(rows, columns)].reshape(-1, 3)[nearest]
    mask = np.ones(height * width, np.uint8)
    mask[seen] = 0
    return warped.reshape(height, width, 3), mask.reshape(height, width)


def splat(points: np.ndarray, focal: float, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of some points each pixel of a camera sees: the nearest that falls into it.

    Args:
        points: (N, 3) float64, in the camera's coordinates: x to the right, y down, z forward.
        focal: focal length in pixels; the principal point is the middle of the picture.
        height, width: of the picture, pixels.

    Returns:
        The pixels that see a point, (M,) int64 in the order of the flattened picture, and the number of the point each
        of them sees, (M,) int64; of points at one distance the first.
    """
    in_front = points[:, 2] > 1e-6
    u = np.full(len(points), -1.0)
    v = np.full(len(points), -1.0)
    u[in_front] = points[in_front, 0] / points[in_front, 2] * focal + width / 2
    v[in_front] = points[in_front, 1] / points[in_front, 2] * focal + height / 2
    numbers = np.flatnonzero(in_front & (u >= 0) & (u < width) & (v >= 0) & (v < height))
    target = np.floor(v[numbers]).astype(int) * width + np.floor(u[numbers]).astype(int)
    distance = np.full(height * width, np.inf)
    np.minimum.at(distance, target, points[numbers, 2])
    visible = points[numbers, 2] == distance[target]
    first = np.full(height * width, len(points))
    np.minimum.at(first, target[visible], numbers[visible])
    seen = np.flatnonzero(first < len(points))
    return seen, first[seen]
