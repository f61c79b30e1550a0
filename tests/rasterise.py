"""What a camera sees of triangles, through a z-buffer, as viewers of meshes draw them."""

import numpy as np

from prefpaint.applications.scene import Camera


def rasterise(points: np.ndarray, faces: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """The nearest triangle at the middle of each pixel, from either side.

    Args:
        points: (V, 3), world coordinates.
        faces: (M, 3), triangles.
        camera: all points lie before it.

    Returns:
        Its number, (H, W) int64, -1 where there is none; and its distance along the optical axis, (H, W).
    """
    moved = camera.from_world(points)
    inverse = 1 / moved[:, 2]
    places = moved[:, :2] * inverse[:, None] * camera.focal + [camera.width / 2, camera.height / 2]
    corners, depths = places[faces], inverse[faces]
    first = np.ceil(corners.min(1) - 0.5).astype(int)
    last = np.floor(corners.max(1) - 0.5).astype(int)
    nearest = np.zeros(camera.height * camera.width)
    number = np.full(camera.height * camera.width, -1)
    reach = (last - first).max(0)
    for down in range(reach[1] + 1):
        for right in range(reach[0] + 1):
            pixel = first + np.array([right, down])
            inside = (pixel <= last).all(1) & (pixel >= 0).all(1) & (pixel < [camera.width, camera.height]).all(1)
            some = np.flatnonzero(inside)
            middle, (a, b, c) = pixel[some] + 0.5, np.moveaxis(corners[some], 1, 0)
            whole = _cross(b - a, c - a)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.stack([_cross(b - middle, c - middle), _cross(c - middle, a - middle)], 1) / whole[:, None]
            share = np.concatenate([share, 1 - share.sum(1, keepdims=True)], 1)
            # 1e-9: a middle on an edge that two triangles share belongs to both.
            hit = (share >= -1e-9).all(1)
            some, flat = some[hit], pixel[some[hit], 1] * camera.width + pixel[some[hit], 0]
            close = (share[hit] * depths[some]).sum(1)
            np.maximum.at(nearest, flat, close)
            kept = close == nearest[flat]
            number[flat[kept]] = some[kept]
    shape = camera.height, camera.width
    with np.errstate(divide="ignore"):
        return number.reshape(shape), (1 / nearest).reshape(shape)


def _cross(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
