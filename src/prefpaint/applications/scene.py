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
# How far around a hole a plane is fitted, as a share of the view's longer side, and the least pixels that make one.
RING, LEAST_RING = 1 / 24, 48
# Inverse depth in a hole lies between so many times the least and the largest around it.
BEYOND = (0.7, 1.3)
# What stands where the photograph's camera saw through goes back in steps: the first, as a share of its distance, how
# many times larger each is than the one before, and how many there are at most.
PUSH, GROWTH, PUSHES = 0.0025, 1.15, 30


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

    def points(self) -> np.ndarray:
        """Where the pixels are, (N, 3) float64, world coordinates."""
        return self.camera.to_world(self.index, self.depth)


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


def filled_sheet(seen: Seen, camera: Camera, picture: np.ndarray, depth: np.ndarray, parallax: float) -> Sheet:
    """What was painted in a view.

    Args:
        seen: the view before.
        camera: of the view.
        picture: (H, W, 3) uint8, its holes painted.
        depth: (H, W), its holes filled.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.
    """
    hole = seen.hole > 0
    # A pixel around the holes on the surfaces that they continue closes the mesh.
    around = ndimage.binary_dilation(hole, np.ones((3, 3))) & ~hole & (seen.behind <= seen.depth)
    index = np.flatnonzero(hole | around)
    behind = depth_behind(depth, parallax)
    flat = (values.reshape(height_width(camera), *values.shape[2:])[index] for values in (depth, behind, picture))
    deep, far, colours = flat
    return Sheet(camera, index, deep, far, colours, hole.ravel()[index], True)


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


def fill_depth(seen: Seen, estimate: np.ndarray | None = None) -> np.ndarray:
    """Depth of a view, its holes continued from what is around them.

    What a moved camera uncovers lies behind what hid it, so pixels in front of a tear say nothing about the hole beside
    them. Inverse depth is that of a plane, or of an estimate brought to scale, fitted around each hole; what remains at
    the hole's edge is carried inside as the solution of Laplace's equation, free where the edge says nothing.

    Args:
        seen: the view; something of it is known.
        estimate: (H, W) depth of the painted view, up to scale and shift of its inverse; None for planes.

    Returns:
        (H, W) float64, known depth as it was, above 0.
    """
    hole = seen.hole > 0
    known = ~hole
    inverse = np.zeros(hole.shape)
    inverse[known] = 1 / seen.depth[known]
    usable = known & (seen.behind <= seen.depth * (1 + 1e-9))
    labels, _ = ndimage.label(hole, np.ones((3, 3)))
    # A hole with nothing but tears around it takes what is behind them.
    reached = np.unique(labels[ndimage.binary_dilation(usable) & hole])
    lost = hole & ~np.isin(labels, reached)
    beside = ndimage.binary_dilation(lost) & known
    inverse[beside] = 1 / seen.behind[beside]
    usable |= beside
    guide, limits = _guides(inverse, hole, labels, usable, estimate)
    residual = _harmonic(hole, usable, np.where(usable, inverse - guide, 0))
    found = np.clip(guide + residual, limits[0], limits[1])
    return np.where(hole, 1 / np.where(hole, found, 1), seen.depth)


def _guides(
    inverse: np.ndarray, hole: np.ndarray, labels: np.ndarray, usable: np.ndarray, estimate: np.ndarray | None
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """What inverse depth is near each hole, fitted to its surroundings; and its limits. All (H, W)."""
    height, width = hole.shape
    guide, low, high = np.zeros(hole.shape), np.full(hole.shape, 1e-9), np.full(hole.shape, np.inf)
    ring = max(3, round(RING * max(height, width)))
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        part = tuple(
            slice(max(0, one.start - ring), min(length, one.stop + ring))
            for one, length in zip(place, hole.shape, strict=True)
        )
        mine = labels[part] == number
        around = (ndimage.distance_transform_edt(~mine) <= ring) & usable[part]
        near = ndimage.binary_dilation(mine, np.ones((3, 3))) & usable[part]
        # Beyond the rim of a tear begins another surface; what is joined to the hole's edge continues into it.
        joined, _ = ndimage.label(around | near)
        around = np.isin(joined, joined[near])
        if not near.any():
            continue
        values = inverse[part][around]
        ys, xs = np.mgrid[part]
        features = [np.ones(mine.shape)]
        if around.sum() >= LEAST_RING:
            features += [1 / estimate[part]] if estimate is not None else [(xs - width / 2) / width, ys / height - 0.5]
        columns = np.stack([one[around] for one in features], 1)
        weights = np.ones(len(values))
        # Other objects in the ring are not what the hole continues: least absolute differences, nearly.
        for _ in range(10):
            scaled = columns * weights[:, None]
            ridge = 1e-6 * len(values) * np.eye(len(features))
            solution = np.linalg.solve(scaled.T @ columns + ridge * weights.mean(), scaled.T @ values)
            misfit = np.abs(values - columns @ solution)
            weights = 1 / np.maximum(misfit, 1e-3 * np.median(values))
            weights /= weights.max()
        fitted = sum(c * one for c, one in zip(solution, features, strict=True))
        wanted = mine | near
        guide[part][wanted] = fitted[wanted]
        low[part][mine], high[part][mine] = BEYOND[0] * values.min(), BEYOND[1] * values.max()
    return guide, (low, high)


def _harmonic(hole: np.ndarray, edge: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Laplace's equation in a hole: given values at its edge, free where the edge or the picture ends; (H, W)."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import spsolve

    count = int(hole.sum())
    number = np.full(hole.shape, -1)
    number[hole] = np.arange(count)
    diagonal, right = np.full(count, 1e-9), np.zeros(count)
    rows, columns = [], []
    whole = slice(None)
    for one, other in (((slice(1, None), whole), (slice(-1), whole)), ((whole, slice(1, None)), (whole, slice(-1)))):
        for here, there in ((one, other), (other, one)):
            inner = hole[here] & hole[there]
            np.add.at(diagonal, number[here][inner], 1)
            rows.append(number[here][inner])
            columns.append(number[there][inner])
            outer = hole[here] & edge[there]
            np.add.at(diagonal, number[here][outer], 1)
            np.add.at(right, number[here][outer], values[there][outer])
    everything = np.arange(count)
    entries = np.concatenate([-np.ones(sum(map(len, rows))), diagonal])
    places = np.concatenate([*rows, everything]), np.concatenate([*columns, everything])
    solved = np.zeros(hole.shape)
    if count:
        solved[hole] = spsolve(coo_matrix((entries, places), (count, count)).tocsc(), right, permc_spec="MMD_AT_PLUS_A")
    return solved


def push_behind(depth: np.ndarray, hole: np.ndarray, camera: Camera, photograph: Sheet) -> np.ndarray:
    """Depth of a view in whose holes nothing stands between the photograph's camera and what it saw.

    Args:
        depth: (H, W), holes filled.
        hole: (H, W), above 0 in holes.
        camera: of the view.
        photograph: the first sheet.

    Returns:
        (H, W), farther in some of the holes.
    """
    pushed = depth.copy()
    flat, todo = pushed.reshape(-1), np.flatnonzero(hole)
    for step in range(PUSHES):
        pixel, distance = photograph.camera.pixels(camera.to_world(todo, flat[todo]))
        todo = todo[(pixel >= 0) & (distance <= photograph.depth[pixel])]
        if not len(todo):
            break
        flat[todo] *= 1 + PUSH * GROWTH**step
    # Neighbours go back together: a surface pushed pixel by pixel would be rough.
    share = ndimage.gaussian_filter(ndimage.minimum_filter(depth / pushed, 2 * RIM + 1), RIM)
    return np.where(hole > 0, depth / share, depth)
