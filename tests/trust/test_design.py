"""The greedy design against hand-worked numbers, a plain greedy search, and what D-optimality promises."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, MLPHeadConfig
from prefpaint.reward.model import RewardModel
from prefpaint.trust.config import BoundConfig
from prefpaint.trust.design import greedy_order, joint_widths
from prefpaint.trust.fit import Embedded, Trust, fit_trust


def trust(z: np.ndarray, whole_norm: float | None = None, ridge: float = 1.0) -> Trust:
    data = Embedded(z, np.zeros(len(z)), np.zeros(len(z)), [str(row) for row in range(len(z))])
    return fit_trust(data, data, BoundConfig(ridge=ridge), whole_norm=whole_norm)


def log_det(joint: np.ndarray, rows: np.ndarray) -> float:
    return float(np.linalg.slogdet(np.eye(len(rows)) + joint[np.ix_(rows, rows)])[1])


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Joint widths of up to seven groups of one to three candidates, some of them twins."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes = draw(st.lists(st.integers(1, 3), min_size=1, max_size=7))
    z = rng.normal(size=(sum(sizes), draw(st.integers(1, 4))))
    if len(z) > 1 and draw(st.booleans()):
        z[0] = z[-1]
    return z @ z.T, np.repeat(np.arange(len(sizes)), sizes)


def test_by_hand() -> None:
    # V = I + diag(3, 0) = diag(4, 1).
    known = trust(np.array([[math.sqrt(3), 0.0], [0.0, 0.0]]))
    z = np.array([[2.0, 0.0], [0.0, 1.5], [0.0, 1.4], [1.2, 0.0]])
    joint = joint_widths(known, z)
    np.testing.assert_allclose(np.diag(joint), [1.0, 2.25, 1.96, 0.36])
    assert joint[1, 2] == pytest.approx(2.1) and joint[0, 1] == pytest.approx(0)
    # By width alone 2 would follow its near-duplicate 1; once 1 is rated it has 1.96 − 2.1² / 3.25 = 0.603 left.
    assert np.argsort(-np.diag(joint)).tolist() == [1, 2, 0, 3]
    assert greedy_order(joint, np.arange(4)).tolist() == [1, 0, 2, 3]


def test_fills_that_are_alike_count_little_more_than_one() -> None:
    # Group 0: the same fill twice, log det(I + [[1, 1], [1, 1]]) = log 3. Group 1: two that share nothing, log 4.
    joint = np.eye(4)
    joint[0, 1] = joint[1, 0] = 1.0
    assert greedy_order(joint, np.array([0, 0, 1, 1])).tolist() == [1, 0]


def test_equals_keep_their_order_and_nothing_has_none() -> None:
    assert greedy_order(np.eye(5), np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert greedy_order(np.zeros((0, 0)), np.zeros(0, int)).tolist() == []


@given(pool=pools())
def test_every_step_takes_the_group_that_raises_log_det_most(pool: tuple[np.ndarray, np.ndarray]) -> None:
    joint, groups = pool
    order = greedy_order(joint, groups)
    assert sorted(order.tolist()) == list(range(groups.max() + 1))
    rated = np.zeros(0, int)
    for number, chosen in enumerate(order):
        values = {g: log_det(joint, np.r_[rated, np.flatnonzero(groups == g)]) for g in order[number:]}
        # Gains are compared to nine digits.
        assert values[chosen] >= max(values.values()) - 1e-8
        rated = np.r_[rated, np.flatnonzero(groups == chosen)]


@given(pool=pools(), size=st.integers(1, 4))
@settings(deadline=None)
def test_the_first_groups_have_most_of_what_the_best_could(pool: tuple[np.ndarray, np.ndarray], size: int) -> None:
    joint, groups = pool
    count = int(groups.max()) + 1
    size = min(size, count)

    def value(chosen: tuple[int, ...]) -> float:
        return log_det(joint, np.flatnonzero(np.isin(groups, chosen)))

    best = max(value(chosen) for chosen in combinations(range(count), size))
    assert value(tuple(greedy_order(joint, groups)[:size])) >= (1 - 1 / math.e) * best - 1e-8


@given(seed=st.integers(0, 2**32))
def test_conditioning_is_the_update_of_v(seed: int) -> None:
    """What the order assumes after a group is what `fit_trust` says once the group was rated."""
    rng = np.random.default_rng(seed)
    seen, pool = rng.normal(size=(5, 3)), rng.normal(size=(6, 3))
    before, after = joint_widths(trust(seen), pool), joint_widths(trust(np.r_[seen, pool[:2]]), pool)
    rows = np.array([0, 1])
    block = np.eye(2) + before[np.ix_(rows, rows)]
    np.testing.assert_allclose(after, before - before[:, rows] @ np.linalg.solve(block, before[rows]), atol=1e-9)


def test_what_the_head_cannot_express_is_shared_by_near_duplicates() -> None:
    """A kernel head: widths as `Trust` has them, and a twin in a direction without landmarks comes last."""
    model = RewardModel(ContrastBackboneConfig(taps=(0,)), KernelHeadConfig(embedding=6, components=8, length=0.05))
    rng = torch.Generator().manual_seed(0)
    features = torch.randn(12, model.backbone.width, generator=rng)
    far = torch.randn(2, model.backbone.width, generator=rng)
    features = torch.cat([features, far, far[:1] + 1e-4])
    model.heads[0].place(features[:6], 0)
    with torch.no_grad():
        z = model.read(features)[1].numpy()
    known = trust(z[:6], model.whole_norm, ridge=0.5)
    joint = joint_widths(known, z[6:], model.gram(features[6:]))
    # z is float32.
    np.testing.assert_allclose(np.diag(joint), known.widths(z[6:]) ** 2, atol=1e-5)
    order = greedy_order(joint, np.arange(9)).tolist()
    assert order[-1] in (6, 8), "one of the twins comes last"


def test_a_twin_of_a_rated_candidate_without_a_landmark_is_narrow() -> None:
    """By hand in two directions: V knows the first alone, and what was rated has 0.6 of the first and 0.8 beside it."""
    rated, other = np.array([0.6]), np.array([1.0])
    z, whole = np.stack([rated, rated, other]), np.array([[1.0, 1.0, 0.6], [1.0, 1.0, 0.6], [0.6, 0.6, 1.0]])
    known = trust(z[:2], 1.0, ridge=0.5)
    before, after = joint_widths(known, z, whole), joint_widths(known, z, whole, np.array([True, False, False]))
    # What is left of a rated one and of its twin is 0.64 / 0.5 = 1.28, and 1.28 − 1.28² / 2.28 once it was seen.
    taken = (1.28**2 / 2.28) * np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(before - after, taken, atol=1e-12)
    np.testing.assert_array_equal(joint_widths(known, z, whole, np.zeros(3, bool)), before)


def test_an_mlp_head_expresses_everything() -> None:
    head = MLPHeadConfig(width=16, heads=2, feedforward=16, hidden=16, embedding=4)
    model = RewardModel(ContrastBackboneConfig(taps=(0,)), head)
    assert model.gram(torch.zeros(2, model.backbone.width)) is None


def test_another_rewards_trust_is_refused() -> None:
    with pytest.raises(PrefPaintError, match="run `kedro run --pipeline=bound` for this reward model"):
        joint_widths(trust(np.eye(3)), np.eye(4))
