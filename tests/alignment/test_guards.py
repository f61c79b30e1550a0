"""Gate, pessimism and ceiling: by hand, and the laws that hold for them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.alignment.guards import least_trusted, mean_pull, norm_excess, pessimistic

WIDTHS = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=40)
SHARES = st.floats(0.01, 1.0)


def test_the_gate_by_hand() -> None:
    widths = np.array([3.0, 9.0, 9.0, 1.0, 9.0, math.nan, 2.0, 4.0])
    # A quarter of eight are two: the first two of the three widest. Half are four: all three, and the next.
    assert np.flatnonzero(least_trusted(widths, 0.25)).tolist() == [1, 2]
    assert np.flatnonzero(least_trusted(widths, 0.5)).tolist() == [1, 2, 4, 7]
    assert np.flatnonzero(least_trusted(widths, 0.01)).tolist() == [1], "at least one"
    assert np.flatnonzero(~least_trusted(widths, 7 / 8)).tolist() == [5], "what was dropped comes last"
    assert least_trusted(widths, 1.0).all()


@given(WIDTHS, SHARES)
def test_the_gate_takes_exactly_the_share_and_nobody_wider_is_left(widths: list[float], share: float) -> None:
    values = np.array(widths)
    gated = least_trusted(values, share)
    assert gated.sum() == max(1, round(share * len(values)))
    if not gated.all():
        least = values[gated].min()
        assert least >= values[~gated].max()
        # Of equal widths the first.
        ties = np.flatnonzero(values == least)
        assert (np.diff(gated[ties].astype(int)) <= 0).all()


@given(WIDTHS, SHARES)
def test_the_gate_knows_only_ranks(widths: list[float], share: float) -> None:
    values = np.array(widths)
    for transformed in (values**3, np.exp(values / 4), 7 * values + 1):
        np.testing.assert_array_equal(least_trusted(transformed, share), least_trusted(values, share))


def test_pessimism_by_hand() -> None:
    lowered = pessimistic(np.array([1.0, 1.0, -2.0]), np.array([0.0, 2.0, 1.0]), 0.25)
    np.testing.assert_array_equal(lowered, [1.0, 0.5, -2.25])


def test_the_mean_pull_by_hand() -> None:
    assert mean_pull(np.array([math.nan, 1.0, 2.0, math.nan])) == 1.5
    assert mean_pull(np.array([math.nan])) == mean_pull(np.zeros(0)) == 0


def test_the_ceiling_by_hand() -> None:
    """Two latents in the hole, one outside: √((3² + 4²) / 2) against √((1² + 7²) / 2) = 5, and against 1."""
    predicted = torch.tensor([[[[3.0, 4.0, 100.0]]], [[[3.0, 4.0, 100.0]]]], requires_grad=True)
    reference = torch.tensor([[[[1.0, 7.0, 0.0]]], [[[1.0, -1.0, 0.0]]]])
    hole = torch.tensor([[[[1.0, 1.0, 0.0]]]]).repeat(2, 1, 1, 1)
    size = math.sqrt(12.5)
    excess = norm_excess(predicted, reference, hole)
    assert excess.tolist() == pytest.approx([0.0, size - 1])
    excess.square().sum().backward()
    # d/dv of (‖v‖ − 1)² is 2 (‖v‖ − 1) v / (2 ‖v‖), for two elements.
    expected = [(size - 1) * value / size for value in (3.0, 4.0)]
    assert predicted.grad is not None
    assert predicted.grad[0].abs().sum() == 0 and predicted.grad[1].flatten().tolist() == pytest.approx([*expected, 0])


@given(st.floats(0.0, 1.0), st.integers(0, 100))
def test_nothing_is_penalised_below_the_ceiling(scale: float, seed: int) -> None:
    reference = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))
    # Every element's sign and place are free: only the size counts. A rounding below it, so that it is below.
    predicted = (scale * 0.9999 * reference.flip(3).neg()).requires_grad_()
    excess = norm_excess(predicted, reference, None)
    excess.square().sum().backward()
    assert excess.abs().sum() == 0 and predicted.grad is not None and predicted.grad.abs().sum() == 0
    assert (norm_excess(1.1 * reference, reference, None) > 0).all()
