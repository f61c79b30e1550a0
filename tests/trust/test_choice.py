"""Choosing by the reward: which fill, its gain, and intervals worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.trust.choice import ChoiceErrors, Chosen, choice_metrics, read_choice_errors

REWARD = np.array([1.0, 3.0, 2.0, 5.0, 4.0, 0.0])
SCORE = np.array([0.0, 1.0, 2.0, 3.0, 6.0, 0.0])
PROMPTS = ["a", "a", "a", "b", "b", "b"]


def test_choosing_by_hand() -> None:
    chosen = Chosen.of(REWARD, SCORE, PROMPTS, 3)
    assert chosen.reward.tolist() == [3, 5] and chosen.score.tolist() == [1, 3]
    assert chosen.reward_gain.tolist() == [1, 2] and chosen.score_gain.tolist() == [0, 0]
    # Prompt b lost a fill, and of three only a can be chosen from.
    assert Chosen.of(REWARD[:5], SCORE[:5], PROMPTS[:5], 3).reward.tolist() == [3]
    assert len(Chosen.of(REWARD, SCORE, PROMPTS, 4).reward) == 0


def test_errors_by_hand() -> None:
    errors = ChoiceErrors.of(REWARD, SCORE, PROMPTS, 0.6)
    assert errors.fills == 3
    # First fills: |1 - 0| and |5 - 3|. Of three: |3 - 1| and |5 - 3|, and gains 1 - 0 and 2 - 0.
    assert errors.reward == ((1, 2), (2, 2), (2, 2))
    assert errors.gain[0] == (0, 0) and errors.gain[2] == (1, 2)
    # ⌈3 · 0.6⌉ = 2nd smallest; ⌈3 · 0.3⌉ = 1st; at 90 % the third of two does not exist.
    assert errors.half_widths(3) == (2, 2) and errors.half_widths(3, 0.3) == (2, 1)
    assert errors.half_widths(8) == errors.half_widths(3), "more than were rated: the errors of as many as were"
    assert errors.half_widths(3, 0.9) == (math.inf, math.inf)


def test_where_prompts_have_one_rated_fill_a_gain_is_unknown() -> None:
    errors = ChoiceErrors.of(REWARD, SCORE, list("abcdef"), 0.5)
    assert errors.fills == 1 and errors.half_widths(1)[1] == 0
    assert errors.half_widths(4) == (errors.half_widths(1)[0], math.inf)


@given(
    errors=st.lists(st.floats(0, 10), min_size=1, max_size=40),
    levels=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)),
)
def test_intervals_widen_with_the_level(errors: list[float], levels: tuple[float, float]) -> None:
    made = ChoiceErrors(level=0.5, reward=(tuple(errors),), gain=(tuple(errors),))
    low, high = sorted(levels)
    assert made.half_widths(1, low)[1] <= made.half_widths(1, high)[1]


def test_what_is_saved_is_read_again_and_nothing_else() -> None:
    errors = ChoiceErrors.of(REWARD, SCORE, PROMPTS, 0.6)
    assert read_choice_errors(errors.model_dump(mode="json")) == errors
    for other in ({}, {"level": 0.9, "reward": [], "gain": []}, {**errors.model_dump(), "more": 1}, [1]):
        with pytest.raises(PrefPaintError, match=r"choice_errors.json: .*run `kedro run --pipeline=bound`"):
            read_choice_errors(other)


def drawn(prompts: int, noise: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=3 * prompts)
    return pd.DataFrame(
        {
            "prompt_id": [f"p{row // 3}" for row in range(3 * prompts)],
            "split": np.where(np.arange(3 * prompts) < 1.5 * prompts, "validation", "test"),
            "reward": truth + noise * rng.normal(size=3 * prompts),
            "score": truth + 0.3 * rng.normal(size=3 * prompts),
            "noiseless_score": truth,
        }
    )


def errors_of(table: pd.DataFrame) -> ChoiceErrors:
    rows = table[table["split"] == "validation"]
    return ChoiceErrors.of(rows["reward"].to_numpy(), rows["score"].to_numpy(), rows["prompt_id"].tolist(), 0.9)


def test_intervals_keep_their_promise_and_say_whether_choosing_helps() -> None:
    table = drawn(4000, 0.5)
    found = choice_metrics(table, errors_of(table), 0)
    # 2,000 test prompts: a standard error of 0.7 %, and as much again from the 2,000 validation prompts.
    assert found["test_gain_coverage_ratings"] == pytest.approx(0.9, abs=0.03)
    assert found["test_choice_coverage_ratings"] == pytest.approx(0.9, abs=0.03)
    # The best of three normal numbers exceeds their mean by 0.846, of which the noisy reward finds 1 / √1.25.
    assert found["test_gain_noiseless"] == pytest.approx(0.846 / math.sqrt(1.25), abs=0.04)
    assert found["test_gain_noiseless_low"] < found["test_gain_noiseless"] < found["test_gain_noiseless_high"]
    assert 0.8 < found["test_gain_share_better_noiseless"] <= 1 and 0 < found["test_gain_sure"] < 1
    blind = drawn(4000, 100.0)
    assert abs(choice_metrics(blind, errors_of(blind), 0)["test_gain_noiseless"]) < 0.06


def test_without_a_choice_on_test_nothing_is_made_up() -> None:
    table = drawn(40, 0.5)
    errors = errors_of(table)
    assert choice_metrics(table[table["split"] == "validation"], errors, 0) == {}
    assert choice_metrics(table.assign(prompt_id=[str(row) for row in table.index]), errors, 0) == {}
    people = choice_metrics(table.assign(noiseless_score=math.nan), errors, 0)
    assert "test_gain_ratings" in people and not any("noiseless" in name for name in people)
