"""The bound holds: in worlds with a known truth it fails in at most δ of them, for every picture at once."""

import itertools

import numpy as np
import pytest

from prefpaint.trust.config import BoundConfig
from prefpaint.trust.fit import Embedded, fit_trust
from prefpaint.trust.worlds import World, draw_worlds, worlds_table

WORLDS = 1000
CASES = [
    World(candidates, size, ridge, noise, delta=delta)
    for delta, (candidates, size), ridge, noise in itertools.product(
        (0.05, 0.2), ((6, 3), (40, 3), (40, 16), (200, 16)), (0.01, 1.0, 100.0), (0.2, 2.0)
    )
]


@pytest.mark.parametrize("world", CASES, ids=str)
def test_at_most_delta_of_the_worlds_violate_the_bound(world: World) -> None:
    found = draw_worlds(world, WORLDS)
    # The greatest error over all directions: one violated picture makes a violated world.
    assert (found.farthest > 1).mean() <= world.delta
    # Pictures that are seen cannot be worse than the worst direction.
    assert (found.farthest_seen <= found.farthest * (1 + 1e-9)).all()
    assert (found.tightness > 1).mean() > 1 - world.delta


def test_worlds_are_what_fit_trust_makes_of_the_same_numbers() -> None:
    """The proof is about the code that is used: one world by hand, through `fit_trust`."""
    world = World(candidates=50, size=6, ridge=0.5, noise=0.3, psi_norm=2.0)
    rng = np.random.default_rng(0)
    psi = rng.normal(size=6)
    psi *= world.psi_norm / np.linalg.norm(psi)
    z = rng.normal(size=(50, 6))
    score = z @ psi + world.noise * rng.normal(size=50)
    data = Embedded(z, score, score, [str(row) for row in range(50)])
    trust = fit_trust(data, data, BoundConfig(ridge=0.5, noise=0.3, psi_norm=2.0))
    new = rng.normal(size=(5000, 6))
    low, high = trust.bound(new)
    assert ((low <= new @ psi) & (new @ psi <= high)).all()
    # The ellipsoid's radius is the greatest ratio of error and bound over all directions; its own one attains it.
    wrong = trust.psi - psi
    farthest = np.linalg.norm(trust.factor.T @ wrong) / trust.bound_factor
    worst = (trust.factor @ trust.factor.T @ wrong)[None]
    ratio = abs(worst @ wrong) / (trust.bound_factor * trust.widths(worst, "elliptical"))
    assert ratio[0] == pytest.approx(farthest)
    ratios = np.abs(new @ wrong) / (trust.bound_factor * trust.widths(new, "elliptical"))
    assert 0.5 * farthest < ratios.max() <= farthest


def test_a_bound_told_too_little_is_caught() -> None:
    """The test has teeth: with a third of the noise, or a tenth of ‖ψ*‖ under a strong ridge, bounds fail."""
    noisy = World(candidates=200, size=16, ridge=1.0, noise=1.0)
    assert (draw_worlds(noisy, WORLDS, noise=1.0).farthest > 1).mean() <= 0.05
    assert (draw_worlds(noisy, WORLDS, noise=0.3).farthest > 1).mean() > 0.5
    strong = World(candidates=20, size=4, ridge=1000.0, noise=0.1, psi_norm=10.0)
    assert (draw_worlds(strong, WORLDS).farthest > 1).mean() <= 0.05
    assert (draw_worlds(strong, WORLDS, psi_norm=1.0).farthest > 1).mean() > 0.5


def test_the_table_says_how_often_and_how_tight() -> None:
    settings = (World(20, 4, 1.0), World(20, 4, 1.0, delta=0.2))
    table = worlds_table(settings, seed=0, count=60)
    assert table["delta"].tolist() == [0.05, 0.2] and (table["worlds"] == 60).all()
    assert (table["violated"] <= table["delta"]).all() and (table["violated"] <= table["violated_high"]).all()
    # The same worlds: the smaller δ has the wider bound.
    assert table["tightness"][0] > table["tightness"][1] > 1
    assert table["largest"][0] < table["largest"][1] < 1
    assert worlds_table(settings, seed=0, count=60).equals(table)
