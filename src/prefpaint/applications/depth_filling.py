"""Depth where a view of a scene has a hole: what is around it goes on behind what hid it."""

import numpy as np
from scipy import ndimage

from prefpaint.applications.scene import RIM, Camera, Seen, Sheet

# How far around a hole a plane is fitted, as a share of the view's longer side, and the least pixels that make one.
RING, LEAST_RING = 1 / 24, 48
# Inverse depth in a hole lies between so many times the least and the largest around it.
BEYOND = (0.7, 1.3)
# What stands where the photograph's camera saw through goes back in steps: the first, as a share of its distance, how
# many times larger each is than the one before, and how many there are at most.
PUSH, GROWTH, PUSHES = 0.0025, 1.15, 30


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
