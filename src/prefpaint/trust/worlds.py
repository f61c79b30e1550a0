"""Drawn worlds in which the truth is known: does the bound hold as often as it says, and how tight is it?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.linalg import cho_solve
from scipy.stats import binomtest

from prefpaint.config import derive_seed
from prefpaint.trust.fit import bound_factor

DIRECTIONS = 32
# Embeddings of all worlds drawn at a time: bounds memory, about 64 MB of float64.
NUMBERS_AT_A_TIME = 8_000_000


@dataclass(frozen=True)
class World:
    """How worlds are drawn: scores ⟨z, ψ*⟩ + noise, ψ* on the sphere of radius `psi_norm`, noise normal.

    Embeddings are normal, their j-th number with standard deviation j^(−1/2): few directions carry most, as in a
    trained head.

    Attributes:
        candidates: N rated ones.
        size: d.
        ridge: λ.
        noise: standard deviation of the noise.
        psi_norm: ‖ψ*‖.
        delta: δ that the bound is made for.
    """

    candidates: int
    size: int
    ridge: float
    noise: float = 0.5
    psi_norm: float = 1.0
    delta: float = 0.05


@dataclass(frozen=True)
class _Drawn:
    """W worlds, whatever ridge and δ: ψ* (W, d), ZᵀZ (W, d, d), Zᵀ · scores (W, d), fresh embeddings (W, m, d)."""

    psi: np.ndarray
    gram: np.ndarray
    target: np.ndarray
    fresh: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What happened in each of W worlds, (W,) each.

    Attributes:
        farthest: ‖ψ̂ − ψ*‖_V / C, the greatest error over all directions z, as a share of its bound: above 1 the
            bound is violated for some z.
        farthest_seen: the same among `DIRECTIONS` fresh embeddings.
        tightness: median over those of bound / error.
    """

    farthest: np.ndarray
    farthest_seen: np.ndarray
    tightness: np.ndarray


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _draw(world: World, count: int, rng: np.random.Generator) -> _Drawn:
    n, d = world.candidates, world.size
    spread = np.arange(1, d + 1) ** -0.5
    psi = world.psi_norm * _unit(rng.normal(size=(count, d)))
    z = rng.normal(size=(count, n, d)) * spread
    score = np.einsum("wnd,wd->wn", z, psi) + world.noise * rng.normal(size=(count, n))
    gram, target = z.transpose(0, 2, 1) @ z, np.einsum("wnd,wn->wd", z, score)
    return _Drawn(psi, gram, target, rng.normal(size=(count, DIRECTIONS, d)) * spread)


def _outcome(world: World, drawn: _Drawn, noise: float, psi_norm: float) -> Outcome:
    d = world.size
    factor = np.linalg.cholesky(drawn.gram + world.ridge * np.eye(d))
    estimate = np.stack([cho_solve((one, True), y) for one, y in zip(factor, drawn.target, strict=True)])
    log_det = 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(1)
    limit = bound_factor(log_det, d, world.ridge, noise, psi_norm, world.delta)
    wrong = estimate - drawn.psi
    farthest = np.linalg.norm(np.einsum("wij,wi->wj", factor, wrong), axis=1) / limit
    widths = np.linalg.norm(np.linalg.solve(factor, drawn.fresh.transpose(0, 2, 1)), axis=1)
    errors = np.abs(np.einsum("wmd,wd->wm", drawn.fresh, wrong))
    ratio = errors / (limit[:, None] * widths)
    return Outcome(farthest, ratio.max(1), np.median(1 / np.maximum(ratio, 1e-12), 1))


def draw_worlds(
    world: World, count: int = 1000, seed: int = 0, noise: float | None = None, psi_norm: float | None = None
) -> Outcome:
    """Draw worlds, estimate ψ̂ in each as `fit_trust` does, and compare its errors with the bound.

    Args:
        world: how they are drawn.
        count: W.
        seed: of all draws.
        noise, psi_norm: what the bound is told; none: the truth.
    """
    told = (world.noise if noise is None else noise, world.psi_norm if psi_norm is None else psi_norm)
    return _joined([_outcome(world, drawn, *told) for drawn in _drawn(world, count, seed)])


def _drawn(world: World, count: int, seed: int) -> Iterator[_Drawn]:
    """The worlds, as many at a time as memory should hold."""
    rng = np.random.default_rng(derive_seed("worlds", seed, world.candidates, world.size))
    at_a_time = max(1, NUMBERS_AT_A_TIME // (world.candidates * world.size))
    for done in range(0, count, at_a_time):
        yield _draw(world, min(at_a_time, count - done), rng)


def _joined(parts: Sequence[Outcome]) -> Outcome:
    names = ("farthest", "farthest_seen", "tightness")
    return Outcome(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _draw_alike(settings: Sequence[World], count: int, seed: int) -> dict[World, Outcome]:
    """`draw_worlds` for each setting; those that differ in ridge and δ alone share their draws."""
    alike: dict[World, list[World]] = {}
    for world in settings:
        alike.setdefault(replace(world, ridge=0.0, delta=0.0), []).append(world)
    found: dict[World, list[Outcome]] = {world: [] for world in settings}
    for common, worlds in alike.items():
        for drawn in _drawn(common, count, seed):
            for world in worlds:
                found[world].append(_outcome(world, drawn, world.noise, world.psi_norm))
    return {world: _joined(parts) for world, parts in found.items()}


# Few and many ratings per direction, weak and strong ridge, two values of δ.
SETTINGS = tuple(
    World(candidates, size, ridge, delta=delta)
    for delta in (0.05, 0.2)
    for candidates, size in ((30, 8), (300, 8), (60, 32), (300, 32))
    for ridge in (0.1, 10.0)
)


def worlds_table(settings: Sequence[World], seed: int, count: int = 1000) -> pd.DataFrame:
    """The proof by drawing: how often the bound is violated, and how much wider than the error it is.

    Args:
        settings: how worlds are drawn.
        seed: of all draws.
        count: worlds per setting.

    Returns:
        delta, candidates, size, ridge, noise, worlds, violated (share with any violated direction), violated_high
        (upper end of its exact 95 % interval), violated_seen (share with a violated fresh embedding), largest
        (greatest error / bound of all worlds), tightness (median of bound / error).
    """
    rows, outcomes = [], _draw_alike(settings, count, seed)
    for world in settings:
        found = outcomes[world]
        violated = int((found.farthest > 1).sum())
        rows.append(
            {
                "delta": world.delta,
                "candidates": world.candidates,
                "size": world.size,
                "ridge": world.ridge,
                "noise": world.noise,
                "worlds": count,
                "violated": violated / count,
                "violated_high": float(binomtest(violated, count).proportion_ci().high),
                "violated_seen": float((found.farthest_seen > 1).mean()),
                "largest": float(found.farthest.max()),
                "tightness": float(np.median(found.tightness)),
            }
        )
    return pd.DataFrame(rows)
