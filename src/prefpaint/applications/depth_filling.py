"""Depth where a view of a scene has a hole: what is around it goes on behind what hid it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from prefpaint.applications.scene import RIM, TEAR, Camera, Seen, Sheet, depth_behind, render

# How far around a hole a plane is fitted, as a share of the view's longer side, and the least pixels that make one.
RING, LEAST_RING = 1 / 24, 48
# Inverse depth in a hole lies between so many times the least and the largest around it.
BEYOND = (0.7, 1.3)
# What stands where the photograph's camera saw through goes back in steps: the first, as a share of its distance, how
# many times larger each is than the one before, and how many there are at most.
PUSH, GROWTH, PUSHES = 0.0025, 1.15, 30
# How far what was filled reaches below what surrounds it, pixels, and how much deeper it lies there, in pixels by which
# the farthest camera sees it displaced.
SKIRT, SUNK = 1, 0.25


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


@dataclass(frozen=True)
class Outlook:
    """How far a camera sees where it sees the photograph: what was filled hides nothing of it.

    Attributes:
        camera: one of the scene's.
        inverse: (H · W,) float32, inverse depth of what was photographed; infinite where it sees nothing of it.
        slack: how much larger a fill's inverse depth may be, so that a surface may go on.
    """

    camera: Camera
    inverse: np.ndarray
    slack: float


def outlooks(photograph: Sheet, cameras: Sequence[Camera], parallax: float) -> list[Outlook]:
    """Those of the photograph's own camera, before which nothing stands, and of others.

    Args:
        photograph: the first sheet.
        cameras: the others.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.
    """
    found = [Outlook(photograph.camera, (1 / photograph.depth).astype(np.float32), 0.0)]
    for camera in cameras:
        seen = render([photograph], camera)
        inverse = np.full(seen.depth.size, np.inf, np.float32)
        known = seen.hole.ravel() == 0
        inverse[known] = 1 / seen.depth.ravel()[known]
        found.append(Outlook(camera, inverse, TEAR / parallax if parallax else np.inf))
    return found


def filled_sheet(
    seen: Seen, camera: Camera, picture: np.ndarray, depth: np.ndarray, parallax: float, before: Sequence[Outlook] = ()
) -> Sheet:
    """What was painted in a view.

    Args:
        seen: the view before.
        camera: of the view.
        picture: (H, W, 3) uint8, its holes painted.
        depth: (H, W), its holes filled.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.
        before: where nothing may hide what was photographed.
    """
    hole = seen.hole > 0
    depth = push_behind(depth, hole, camera, before)
    # A skirt around the holes closes the mesh: on the surfaces that they continue it shows those, and below what
    # stands in front it goes on with what is nearest in the hole. It lies a little deeper than what it runs along.
    skirt = ndimage.binary_dilation(hole, np.ones((3, 3)), SKIRT) & ~hole
    below = skirt & (seen.behind > seen.depth)
    nearest = tuple(ndimage.distance_transform_edt(~hole, return_distances=False, return_indices=True))
    deep = np.where(below, depth[nearest], depth)
    deep = np.where(skirt, 1 / np.maximum(1 / deep - SUNK / parallax, 1e-9), deep)
    shown = np.where(below[..., None], picture[nearest], picture)
    index = np.flatnonzero(hole | skirt)
    # Where it would hide something, it is left out; what a surface shows of itself may lie on it.
    slack = np.where(below, 0, TEAR / parallax).ravel()[index]
    index = index[hole.ravel()[index] | ~hides(camera, index, deep.ravel()[index], before, slack)]
    behind = depth_behind(deep, parallax)
    colours = shown.reshape(-1, 3)[index]
    return Sheet(camera, index, deep.ravel()[index], behind.ravel()[index], colours, hole.ravel()[index], True)


def push_behind(depth: np.ndarray, wanted: np.ndarray, camera: Camera, before: Sequence[Outlook]) -> np.ndarray:
    """Depth of a view in which what is wanted hides nothing that was photographed.

    Args:
        depth: (H, W), holes filled.
        wanted: (H, W) bool, which pixels go back.
        camera: of the view.
        before: the cameras from which nothing may be hidden.

    Returns:
        (H, W), farther in some of the wanted places.
    """
    pushed = _push(depth, wanted, camera, before)
    # Neighbours go back together: a surface pushed pixel by pixel would be rough.
    share = ndimage.gaussian_filter(ndimage.minimum_filter(depth / pushed, 2 * RIM + 1), RIM)
    together = np.where(wanted, depth / np.minimum(share, depth / pushed), depth)
    # Some may have come out before something that is farther yet.
    return _push(together, wanted, camera, before)


def _push(depth: np.ndarray, wanted: np.ndarray, camera: Camera, before: Sequence[Outlook]) -> np.ndarray:
    """The same, pixel by pixel."""
    pushed = depth.copy()
    flat, todo = pushed.reshape(-1), np.flatnonzero(wanted)
    for step in range(PUSHES):
        todo = todo[hides(camera, todo, flat[todo], before)]
        if not len(todo):
            break
        flat[todo] *= 1 + PUSH * GROWTH**step
    return pushed


def hides(
    camera: Camera, index: np.ndarray, depth: np.ndarray, before: Sequence[Outlook], slack: np.ndarray | float = 0.0
) -> np.ndarray:
    """Which pixels hide something that was photographed from one of the cameras, (N,) bool.

    Args:
        camera: of the pixels.
        index: (N,) int, in the order of the flattened picture.
        depth: (N,), above 0.
        before: the cameras.
        slack: how much larger inverse depth may be, beyond each camera's own slack; one number, or (N,).
    """
    found, places = np.zeros(len(index), bool), camera.to_world(index, depth)
    for one in before:
        pixel, distance = one.camera.pixels(places)
        with np.errstate(divide="ignore"):
            found |= (pixel >= 0) & (1 / distance >= one.inverse[pixel] + one.slack + slack)
    return found
