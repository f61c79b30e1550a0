"""Weighting and normalisation, by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.comparisons import no_comparisons
from prefpaint.preferences.scoring import (
    apply_normalisation,
    fit_normalisation,
    score_candidates,
    weighted_score,
)


def ratings(*rows: tuple[str, str, int, int, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["candidate_id", "rater", "structure", "texture", "overall"])


def table(raw: list[float], split: list[str] | str = "train", pattern: list[str] | str = "warp") -> pd.DataFrame:
    return pd.DataFrame({"raw": raw, "source": "embedded"}).assign(split=split, pattern=pattern)


def test_weighted_score_by_hand() -> None:
    # .15 · 4 + .15 · 2 + .70 · 6 = 0.6 + 0.3 + 4.2
    assert weighted_score(ratings(("a_0", "r", 4, 2, 6), ("a_1", "r", 7, 7, 7))).tolist() == pytest.approx([5.1, 7.0])


def test_scores_are_means_over_the_raters_there_are() -> None:
    candidates = pd.DataFrame({"candidate_id": ["a_0", "a_1", "b_0"], "prompt_id": ["a", "a", "b"]})
    prompts = pd.DataFrame(
        {"prompt_id": ["a", "b"], "source": "s", "pattern": ["warp", "outpaint_strip"], "split": ["train", "test"]}
    )
    given_ratings = ratings(("b_0", "x", 1, 1, 1), ("a_0", "y", 6, 6, 6), ("a_0", "x", 4, 2, 6))
    scores = score_candidates(given_ratings, no_comparisons(), candidates, prompts)
    assert scores.drop(columns="raw").to_numpy().tolist() == [
        ["a_0", "a", "s", "warp", "train", 2],
        ["b_0", "b", "s", "outpaint_strip", "test", 1],
    ]
    assert scores["raw"].tolist() == pytest.approx([(5.1 + 6.0) / 2, 1.0])
    shuffled = score_candidates(given_ratings.iloc[::-1], no_comparisons(), candidates, prompts)
    pd.testing.assert_frame_equal(shuffled, scores, check_exact=True)


def test_comparisons_speak_where_nobody_rated() -> None:
    candidates = pd.DataFrame({"candidate_id": ["a_0", "a_1", "b_0", "b_1"], "prompt_id": ["a", "a", "b", "b"]})
    prompts = pd.DataFrame({"prompt_id": ["a", "b"], "source": "s", "pattern": "warp", "split": "train"})
    compared = pd.DataFrame(
        {"candidate_a": ["a_0", "b_0"], "candidate_b": ["a_1", "b_1"], "preferred": "b", "rater": "x"}
    ).assign(rated_at=pd.Timestamp("2026-01-01", tz="UTC"))
    scores = score_candidates(ratings(("a_0", "x", 4, 2, 6)), compared, candidates, prompts)
    assert scores["candidate_id"].tolist() == ["a_0", "b_0", "b_1"]
    # One win: σ(−2t) = t has the root 0.3374; 7 / (1 + e^t) = 2.915.
    assert scores["raw"].tolist() == pytest.approx([5.1, 2.915, 4.085], abs=1e-3)


def test_normalisation_by_hand_and_on_train_alone() -> None:
    # Train: mean 3, population variance ((1 − 3)² + (5 − 3)²) / 2 = 4.
    scores = table(
        [1.0, 5.0, 7.0, 2.0, 4.0], ["train", "train", "test", "train", "train"], ["warp"] * 3 + ["strip"] * 2
    )
    factors = fit_normalisation(scores)
    assert factors == [
        {"source": "embedded", "pattern": "strip", "mean": 3.0, "std": 1.0, "count": 2},
        {"source": "embedded", "pattern": "warp", "mean": 3.0, "std": 2.0, "count": 2},
    ]
    assert apply_normalisation(scores["raw"], scores, factors).tolist() == [-1.0, 1.0, 2.0, -1.0, 1.0]


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (table([3.1, 3.1, 3.1]), "all 3 rated train candidates of source embedded, pattern warp have the score 3.10"),
        (table([3.0, 4.0, 5.0], ["train", "test", "test"]), "pattern warp has 1 rated train candidates, and two"),
        (table([3.0, 4.0], "test"), "pattern warp has 0 rated train candidates"),
        (table([1.0, 2.0, 3.0], ["train", "train", "test"], ["a", "a", "b"]), "pattern b has 0 rated train"),
    ],
)
def test_groups_that_cannot_be_normalised(scores: pd.DataFrame, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message):
        fit_normalisation(scores)


def test_unknown_group_has_no_factors() -> None:
    factors = fit_normalisation(table([1.0, 2.0]))
    with pytest.raises(PrefPaintError, match="no factors for source embedded, pattern strip"):
        apply_normalisation(pd.Series([1.0]), table([1.0], pattern="strip"), factors)


@settings(deadline=None, max_examples=50)
@given(
    raw=arrays(np.int64, 12, elements=st.integers(0, 140)).map(lambda steps: steps / 20),
    slopes=st.tuples(st.floats(0.5, 4), st.floats(0.5, 4)),
    shifts=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
)
def test_scores_do_not_depend_on_how_generous_a_group_was_rated(
    raw: np.ndarray, slopes: tuple[float, float], shifts: tuple[float, float]
) -> None:
    # One candidate apart from the others, so that no group is constant.
    raw[[0, 6]], raw[[1, 7]] = 0.0, 7.0
    pattern = ["warp"] * 6 + ["strip"] * 6
    plain = table(raw.tolist(), pattern=pattern)
    changed = plain.assign(raw=raw * np.repeat(slopes, 6) + np.repeat(shifts, 6))
    before, after = (apply_normalisation(t["raw"], t, fit_normalisation(t)) for t in (plain, changed))
    np.testing.assert_allclose(before, after, atol=1e-9)
    for group in (slice(0, 6), slice(6, 12)):
        assert abs(before[group].mean()) < 1e-9
        assert before[group].std(ddof=0) == pytest.approx(1)
        order = np.argsort(raw[group], kind="stable")
        assert (np.diff(before[group].to_numpy()[order]) >= 0).all()
