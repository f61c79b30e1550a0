"""Bradley-Terry with a prior: hand-worked strengths, and what must hold for any comparisons."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from prefpaint.preferences.comparisons import comparison_scores, no_comparisons, strengths


def table(*rows: tuple[str, str, str]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["candidate_a", "candidate_b", "preferred"])
    return made.assign(
        rater=[f"r{number}" for number in range(len(made))], rated_at=pd.Timestamp("2026-01-01", tz="UTC")
    )


@pytest.mark.parametrize("wins", [1, 3, 30])
def test_two_candidates(wins: int) -> None:
    """θ_a = −θ_b = t with n(1 − σ(2t)) = t: the derivative of n log σ(2t) − t² is 0."""
    t = brentq(lambda t: wins / (1 + np.exp(2 * t)) - t, 0, 10)
    found = strengths(table(*[("a", "b", "a")] * wins))
    # newton-cg stops at a gradient of 1e-8; the log posterior's curvature is at least 1.
    np.testing.assert_allclose(found[["a", "b"]], [t, -t], atol=1e-6)
    assert comparison_scores(table(*[("a", "b", "a")] * wins))["raw"].tolist() == pytest.approx(
        [7 / (1 + np.exp(-t)), 7 / (1 + np.exp(t))], abs=1e-5
    )


def test_ties_alone_say_nothing() -> None:
    assert comparison_scores(table(("a", "b", "tie"), ("a", "b", "tie")))["raw"].tolist() == pytest.approx([3.5, 3.5])


def test_no_comparison() -> None:
    found = comparison_scores(no_comparisons())
    assert list(found) == ["candidate_id", "raters", "raw"] and found.empty


def test_raters_are_counted_once() -> None:
    found = comparison_scores(table(("a", "b", "a"), ("a", "c", "a")).assign(rater="ann")).set_index("candidate_id")
    assert found["raters"].to_dict() == {"a": 1, "b": 1, "c": 1}


outcomes = st.lists(
    st.tuples(st.sampled_from(["p0", "p1"]), st.sampled_from(["xy", "xz", "yz"]), st.sampled_from(["a", "b", "tie"])),
    min_size=1,
    max_size=20,
)


@given(outcomes)
def test_laws(rows: list[tuple[str, str, str]]) -> None:
    made = table(*[(f"{prompt}{pair[0]}", f"{prompt}{pair[1]}", preferred) for prompt, pair, preferred in rows])
    found = strengths(made)
    # Where the gradient of the log posterior is 0, the sum of θ over a prompt is the sum of its wins and losses: 0.
    sums = found.groupby(found.index.str[:2]).sum()
    np.testing.assert_allclose(sums, 0, atol=1e-5)
    turned = made.rename(columns={"candidate_a": "candidate_b", "candidate_b": "candidate_a"})
    turned["preferred"] = turned["preferred"].map({"a": "b", "b": "a", "tie": "tie"})
    np.testing.assert_allclose(strengths(turned)[found.index], found, atol=1e-5)
    opposite = made.assign(preferred=made["preferred"].map({"a": "b", "b": "a", "tie": "tie"}))
    np.testing.assert_allclose(strengths(opposite)[found.index], -found, atol=1e-5)
    shuffled = comparison_scores(made.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, comparison_scores(made))
