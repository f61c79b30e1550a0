import math

import numpy as np
import pytest

from prefpaint.stats.bootstrap import (
    best_of,
    bootstrap_mean,
    order_accuracy,
    sample_variance,
    share_won,
    win_rate_equal,
    win_rate_independent,
    win_rate_later,
)


def test_share_won_counts_a_tie_half() -> None:
    challenger = np.array([[2.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    base = np.array([[1.0, 1.0, 1.0], [1.0, 5.0, 9.0]])
    assert share_won(challenger, base).tolist() == [0.5, 0.5]
    assert share_won(challenger + 1e-9, base).tolist() == pytest.approx([2 / 3, 2 / 3])


def test_best_of_is_chosen_by_one_score_and_judged_by_another() -> None:
    reward = np.array([[0.1, 0.9, 0.2, 0.8, 0.3]])
    judged = np.array([[10.0, 20.0, 30.0, 40.0, 50.0]])
    assert best_of(judged, reward, 1).tolist() == judged.tolist()
    assert best_of(judged, reward, 2).tolist() == [[20.0, 40.0]], "the fifth sample has no partner"
    assert best_of(judged, reward, 5).tolist() == [[20.0]]


def test_independent_win_rate_uses_every_pair() -> None:
    # Of 2 × 3 pairs 3 beats 1 and 2 and ties 3; 0 beats none.
    assert win_rate_independent(np.array([[3.0, 0.0]]), np.array([[1.0, 2.0, 3.0]])).tolist() == pytest.approx(
        [2.5 / 6]
    )


def test_equal_win_rate_compares_only_shared_noise() -> None:
    base = np.array([[1.0, 2.0, 3.0, 4.0]])
    aligned = base + 0.5
    assert win_rate_equal(aligned, base).tolist() == [1.0]
    # Best of two: 2.5 against {1, 2}, 4.5 against {3, 4}.
    assert win_rate_equal(best_of(aligned, aligned, 2), base).tolist() == [1.0]
    # 2.5 against {1, 2}, 3.2 against {3, 4}.
    assert win_rate_equal(np.array([[2.5, 3.2]]), base).tolist() == [0.75]


def test_later_against_earlier_by_hand() -> None:
    # Pairs (later, earlier): (1, 2) lost, (3, 2) won, (3, 1) won.
    assert win_rate_later(np.array([[2.0, 1.0, 3.0]])).tolist() == pytest.approx([2 / 3])


def test_order_accuracy_by_hand() -> None:
    truth = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 2.0], [4.0, 4.0, 4.0]])
    predicted = np.array([[1.0, 3.0, 2.0], [7.0, 1.0, 7.0], [1.0, 2.0, 3.0]])
    # First: (1,2) and (1,3) right, (2,3) wrong. Second: (1,2) equal in truth; (1,3) tied, (2,3) right.
    result = order_accuracy(predicted, truth)
    assert result[:2].tolist() == pytest.approx([2 / 3, 0.75])
    assert math.isnan(result[2])


def test_sample_variance_by_hand() -> None:
    assert sample_variance(np.array([[1.0, 3.0], [2.0, 2.0]])).tolist() == [2.0, 0.0]
    assert np.isnan(sample_variance(np.array([[1.0]]))).all()


def test_bootstrap_by_hand() -> None:
    # Two prompts with 0 and 1: resampled means are 0, ½, 1 with probabilities ¼, ½, ¼.
    estimate = bootstrap_mean(np.array([0.0, 1.0]), 2000, 0)
    assert (estimate.value, estimate.low, estimate.high, estimate.prompts) == (0.5, 0.0, 1.0, 2)
    constant = bootstrap_mean(np.full(9, 0.25), 100, 0)
    assert (constant.low, constant.value, constant.high) == (0.25, 0.25, 0.25)


def test_bootstrap_leaves_out_prompts_without_a_value() -> None:
    estimate = bootstrap_mean(np.array([1.0, np.nan, 3.0]), 500, 0)
    assert (estimate.value, estimate.prompts) == (2.0, 2)
    nothing = bootstrap_mean(np.array([np.nan]), 500, 0)
    assert math.isnan(nothing.value) and nothing.prompts == 0


def test_bootstrap_interval_has_the_width_theory_gives() -> None:
    values = np.random.default_rng(3).normal(size=400)
    estimate = bootstrap_mean(values, 4000, 0)
    expected = 2 * 1.96 * values.std() / 20
    # 4,000 draws place each percentile to about 1.5 % of the width.
    assert estimate.high - estimate.low == pytest.approx(expected, rel=0.06)


def test_bootstrap_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).random(50)
    assert bootstrap_mean(values, 300, 5) == bootstrap_mean(values, 300, 5)
    assert bootstrap_mean(values, 300, 5) != bootstrap_mean(values, 300, 6)


def test_drawing_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = bootstrap_mean(values, 300, 5)
    monkeypatch.setattr("prefpaint.stats.bootstrap.DRAWN_AT_ONCE", 350)
    assert bootstrap_mean(values, 300, 5) == whole


def test_equal_methods_are_found_equal_as_often_as_95_percent_says() -> None:
    """Samples of a prompt share its difficulty; a bootstrap over samples instead of prompts would fail here.

    If the interval covers 50 % with probability .95, the number of covering repetitions out of 500 is
    binomial: 475 ± 4.9, and between 459 and 488 with probability .998. The percentile bootstrap covers about
    half a percent less at 128 prompts, hence the band 455-488.
    """
    repetitions, prompts, samples = 500, 128, 3
    rng = np.random.default_rng(2024)
    covered = 0
    for _ in range(repetitions):
        difficulty = rng.normal(size=(prompts, 1))
        ours = difficulty + 0.3 * rng.normal(size=(prompts, samples))
        theirs = difficulty + 0.3 * rng.normal(size=(prompts, samples))
        estimate = bootstrap_mean(win_rate_independent(ours, theirs), 400, int(rng.integers(2**31)))
        covered += estimate.low <= 0.5 <= estimate.high
    assert 455 <= covered <= 488


def test_samples_of_a_prompt_are_not_counted_as_independent() -> None:
    """Two prompts, one always won and one never, are no evidence however many samples each has."""
    won = win_rate_independent(np.array([[9.0] * 50, [0.0] * 50]), np.array([[1.0] * 50, [1.0] * 50]))
    estimate = bootstrap_mean(won, 1000, 0)
    assert (estimate.low, estimate.high) == (0.0, 1.0)


def test_win_rate_intervals_hold_what_they_promise() -> None:
    """Two methods equal by construction: the 95 % interval contains 50 % in 93 to 97 % of 500 repetitions.

    Prompts differ in difficulty and in spread, as real ones do; each has three samples of either method in each of two
    noise sets, and the whole path from samples to interval is walked.
    """
    from prefpaint.evaluation.methods import duel

    rng, held, repetitions = np.random.default_rng(0), 0, 500
    for repetition in range(repetitions):
        level = rng.normal(0, 1, (128, 1))
        spread = rng.gamma(2, 0.5, (128, 1))
        one, other = ({each: level + spread * rng.normal(0, 1, (128, 3)) for each in ("A", "B")} for _ in range(2))
        found = bootstrap_mean(duel(one, one, 1, other), 500, repetition)
        held += found.low <= 0.5 <= found.high
    assert 0.93 <= held / repetitions <= 0.97
