"""Reaching a target, intervals over seeds, and the configuration of variants, by hand."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from prefpaint.experiments.ablate_align import (
    Judged,
    Run,
    _diversity,
    _drift,
    _outside_wins,
    ablate_align_markdown,
    seeds_and_prompts,
)
from prefpaint.experiments.ablate_align_config import AblateAlignConfig
from prefpaint.trust.config import GammaConfig


def test_reaching_a_target_by_hand() -> None:
    run = Run(np.array([2.0, 4.0, 6.0]), np.array([20.0, 40.0, 60.0]), np.array([0.1, 0.3, 0.2]), {})
    assert run.reach(0.2) == pytest.approx((3.0, 30.0)), "half way between the first two looks"
    assert run.reach(0.05) == pytest.approx((1.0, 10.0)), "before any iteration nothing is gained"
    assert np.isnan(run.reach(0.31)).all()


def judged(score: float, brightness: float, spread: float, distances: list[float]) -> Judged:
    """Two prompts, the second without an original."""
    near = {net: np.array([[value, value], [np.nan, np.nan]]) for net, value in zip(("a", "b"), distances, strict=True)}
    return Judged(np.full((2, 2), score), np.full((2, 2), brightness), np.full(2, spread), near)


def test_what_it_does_to_the_pictures_by_hand() -> None:
    base, run = ({"seen": judged(0.0, 0.5, 20.0, [0.4, 0.3])}, {"seen": judged(1.0, 0.25, 15.0, [0.2, 0.3])})
    assert (_drift(run, base), _diversity(run, base)) == (-0.25, 0.75)
    # One network prefers it, the other finds no difference; the prompt without an original does not count.
    assert _outside_wins(run, base).tolist() == [0.75]
    assert Judged.of(run["seen"].plain()).plain().__repr__() == run["seen"].plain().__repr__()


def test_intervals_by_hand() -> None:
    assert seeds_and_prompts(np.full((3, 8), 0.5), 100, 0) == (0.5, 0.5, 0.5)
    spread = np.random.default_rng(0).random((3, 60))
    mean, low, high = seeds_and_prompts(spread, 2000, 0)
    # Prompts alone would give ± 1.96 · σ / √60 for means over three seeds; drawing seeds too makes it wider.
    alone = 1.96 * spread.mean(0).std() / 60**0.5
    assert mean == pytest.approx(spread.mean()) and 1.0 * alone < (high - low) / 2 < 2.5 * alone


def config(**changes: object) -> AblateAlignConfig:
    given = {
        "baseline": "a",
        "variants": {"a": {"gamma": {"kind": "static"}}, "b": {"mode": "published", "watch": {"every": 4}}},
        **changes,
    }
    return AblateAlignConfig.model_validate(given)


def test_variants_start_from_their_mode_the_shared_knobs_and_the_projects_gamma() -> None:
    made = config(shared={"iterations": 7, "gamma": {"b": 9.0}, "watch": {"prompts": 5}})
    first, second = (made.config(name, 3) for name in ("a", "b"))
    assert (first.iterations, first.seed, first.steps, first.trackers) == (7, 3, 5, ())
    assert (second.iterations, second.steps) == (7, 50)
    # A nested knob leaves its neighbours alone.
    assert (second.watch.every, second.watch.prompts) == (4, 5)
    own = GammaConfig(k=0.25)
    assert made.gamma("a", own) == GammaConfig(kind="static", k=0.25, b=9.0)
    assert made.gamma("b", own) == GammaConfig(k=0.25, b=9.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "c"}, "c is not one of the variants a, b"),
        ({"variants": {"a": {"lrr": 1.0}}}, "lrr"),
        ({"variants": {"a": {"gamma": {"kinds": "static"}}}}, "kinds"),
        ({"variants": {"a": {"gamma": 3}}}, "valid dictionary"),
        ({"shared": {"prompts": 0}}, "prompts"),
        ({"seeds": (1,)}, "seeds"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def test_the_table_says_what_was_not_reached() -> None:
    row = {
        **{"variant": "slow", "judge": "noiseless", "seeds": 3, "target": 0.1, "reached": 0},
        **{f"reward_gain{end}": value for end, value in (("", 0.05), ("_low", -0.01), ("_high", 0.11))},
        **{f"{name}{end}": np.nan for name in ("iterations", "network_evaluations") for end in ("", "_low", "_high")},
        **{f"seen_win_rate{end}": value for end, value in (("", 0.5), ("_low", 0.4), ("_high", 0.6))},
        **{f"brightness{end}": value for end, value in (("", 0.01), ("_low", -0.01), ("_high", 0.03))},
        **{f"diversity{end}": value for end, value in (("", 0.9), ("_low", 0.85), ("_high", 0.95))},
        **{f"outside_win_rate{end}": np.nan for end in ("", "_low", "_high")},
    }
    lines = ablate_align_markdown(pd.DataFrame([row]), ["seen"]).splitlines()
    assert lines[-1] == (
        "| slow | +0.050 [-0.010, +0.110] | 50.0 % [40.0, 60.0] | no originals | +0.010 [-0.010, +0.030] "
        "| 90 % [85, 95] | not reached | not reached | 0 of 3 |"
    )
