"""The gate, Spearman intervals and conformal intervals against scipy, hand-worked numbers and drawn truths."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from prefpaint.trust.calibration import (
    _weighted_ranks,
    conformal_coverage,
    conformal_half_width,
    judge,
    spearman,
    trust_metrics,
    trust_table,
    truths,
)
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.figures import bound_figure, trust_figure
from prefpaint.trust.fit import WIDTHS, Embedded, Trust, fit_trust
from prefpaint.trust.gamma import amplification

CONFIG, GAMMA = BoundConfig(), GammaConfig()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=30))
def test_weighted_ranks_are_those_of_repeated_values(pairs: list[tuple[int, int]]) -> None:
    values, times = (np.array(column) for column in zip(*pairs, strict=True))
    found = _weighted_ranks(values.astype(float), times[None].astype(float))[0]
    np.testing.assert_allclose(np.repeat(found, times), rankdata(np.repeat(values, times)))


def test_spearman_is_scipys_and_prompts_stay_whole() -> None:
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=60), 1)
    y = x + rng.normal(size=60)
    singles = spearman(x, y, [str(row) for row in range(60)], 0)
    assert singles.value == pytest.approx(spearmanr(x, y).statistic)
    assert singles.low < singles.value < singles.high
    # Every candidate three times over: the same ρ, and with whole prompts the same doubt about it.
    tripled = spearman(np.repeat(x, 3), np.repeat(y, 3), [str(row) for row in np.repeat(range(60), 3)], 0)
    assert tripled.value == pytest.approx(singles.value, abs=1e-3)
    assert tripled.high - tripled.low == pytest.approx(singles.high - singles.low, rel=0.05)
    torn = spearman(np.repeat(x, 3), np.repeat(y, 3), [str(row) for row in range(180)], 0)
    assert torn.high - torn.low < 0.75 * (singles.high - singles.low)
    assert math.isnan(spearman(np.ones(60), y, [str(row) for row in range(60)], 0).value)


def test_conformal_half_width_by_hand() -> None:
    # ⌈(9 + 1) · 0.8⌉ = 8th smallest of 0.1 … 0.9; at 95 % the 10th of 9 does not exist.
    residuals = np.arange(9, 0, -1) / 10
    assert conformal_half_width(residuals, 0.8) == pytest.approx(0.8)
    assert conformal_half_width(residuals, 0.95) == math.inf


def test_conformal_intervals_keep_their_promise_on_drawn_data() -> None:
    rng = np.random.default_rng(0)
    width = rng.uniform(0.2, 2, 8000)
    score = width * rng.normal(size=8000)
    table = pd.DataFrame({"reward": 0.0, "score": score, "width": width, "noiseless_score": math.nan})
    for scaled in (False, True):
        inside, length = conformal_coverage(table[:4000], table[4000:], 0.9, scaled)
        assert inside["ratings"] == pytest.approx(0.9, abs=0.015)
        assert set(inside) == {"ratings"}
        if scaled:
            assert length == pytest.approx(2 * 1.645 * 1.1, rel=0.05)
    assert conformal_coverage(table[:3], table[4000:], 0.9, False) == ({}, math.inf)


def world(informative: bool, prompts: int = 120) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Embeddings, scores and noiseless scores whose errors follow the distance from the origin, or do not."""
    rng = np.random.default_rng(1)
    count = 3 * prompts
    z = rng.normal(size=(count, 4)) * rng.uniform(0.1, 2, (count, 1))
    truth = z @ np.array([1.0, 0.5, 0.0, 0.0])
    error = rng.normal(size=count) * (np.linalg.norm(z, axis=1) if informative else 1)
    split = np.repeat(np.array(["train", "validation", "test"]), prompts)
    ids = [f"c{row}" for row in range(count)]
    embeddings = pd.DataFrame(
        {
            "candidate_id": ids,
            "prompt_id": [f"p{row // 3}" for row in range(count)],
            "split": split,
            "reward": truth + error,
            "z": list(z),
        }
    )
    scores = pd.DataFrame({"candidate_id": ids, "score": truth + 0.1 * rng.normal(size=count)})
    return embeddings, scores, pd.DataFrame({"candidate_id": ids, "noiseless_score": truth})


def fitted(informative: bool, config: BoundConfig = CONFIG, gamma: GammaConfig = GAMMA) -> Trust:
    embeddings, scores, _ = world(informative)
    train, validation = (Embedded.of(embeddings, scores, split) for split in ("train", "validation"))
    return judge(fit_trust(train, validation, config, 0.1), validation, gamma, config)


def test_the_gate_opens_only_for_a_width_that_ranks_errors_and_a_weight_that_varies() -> None:
    assert fitted(True).informative
    blind = fitted(False)
    assert not blind.informative and "Spearman" in blind.reasons[0] and len(blind.reasons) == 1
    flat = GammaConfig(k=1e-4)
    assert ["γ varies" in reason for reason in fitted(True, gamma=flat).reasons] == [True]
    assert len(fitted(False, gamma=flat).reasons) == 2
    # What does not come from a formula of the width cannot be too flat.
    assert fitted(True, gamma=GammaConfig(kind="static")).informative
    assert fitted(True, BoundConfig(least_variation=0), flat).informative


def test_a_handful_of_prompts_cannot_open_the_gate() -> None:
    embeddings, scores, _ = world(True)
    train, validation = (Embedded.of(embeddings, scores, split) for split in ("train", "validation"))
    few = Embedded(validation.z, validation.reward, validation.score, ["p"] * len(validation.score))
    trust = judge(fit_trust(train, few, CONFIG), few, GAMMA, CONFIG)
    assert trust.reasons[0] == "1 rated validation prompts are too few to tell; 10 are needed"


def test_equal_errors_are_no_information() -> None:
    embeddings, scores, _ = world(True)
    embeddings["reward"] = scores["score"]
    train, validation = (Embedded.of(embeddings, scores, split) for split in ("train", "validation"))
    trust = judge(fit_trust(train, validation, CONFIG), validation, GAMMA, CONFIG)
    assert "the same for every validation candidate" in trust.reasons[0]


def test_collapsed_embeddings_as_published_are_told_apart() -> None:
    """Linear after linear: V is λI plus rank one and γ a constant, which the gate must say."""
    embeddings, scores, _ = world(True)
    rng = np.random.default_rng(0)
    embeddings["z"] = list(100 * np.ones((len(scores), 4)) + 1e-6 * rng.normal(size=(len(scores), 4)))
    train, validation = (Embedded.of(embeddings, scores, split) for split in ("train", "validation"))
    trust = judge(fit_trust(train, validation, BoundConfig(ridge=0.01)), validation, GAMMA, CONFIG)
    assert any("γ varies by 0.00%" in reason for reason in trust.reasons)


def test_table_metrics_and_figures() -> None:
    embeddings, scores, noiseless = world(True)
    trust = fitted(True)
    weigh = amplification(trust, GAMMA)
    table = trust_table(embeddings, scores, noiseless, trust, weigh)
    assert (table["low"] < table["ridge"]).all() and (table["ridge"] < table["high"]).all()
    np.testing.assert_array_equal(table["width"], table["elliptical"])
    metrics = trust_metrics(table, trust, weigh, CONFIG, 3.5)
    assert all(isinstance(value, (int, float)) and math.isfinite(value) for value in metrics.values())
    assert metrics["trust_informative"] == 1 and metrics["participation_ratio"] == 3.5
    assert metrics["noise_scale"] == metrics["noise_scale_raters"] == 0.1
    # The truth is linear here, so the bound holds for the noiseless score of every candidate.
    assert metrics["test_bound_coverage_noiseless"] == 1 and metrics["test_bound_tightness_noiseless"] > 1
    for name in ("test_spearman_width_error", *(f"test_spearman_{kind}_error_noiseless" for kind in WIDTHS)):
        assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"]
    assert metrics["test_conformal_coverage_ratings"] > 0.85
    assert metrics["test_conformal_scaled_length"] > 0
    for figure in (bound_figure(table, np.ones(4), trust, weigh), trust_figure(table, trust)):
        assert len(figure.axes) >= 3


def test_with_ratings_of_people_or_without_a_test_split_nothing_is_made_up() -> None:
    embeddings, scores, noiseless = world(True)
    trust = fitted(True)
    weigh = amplification(trust, GAMMA)
    people = trust_table(embeddings, scores, noiseless[:0], trust, weigh)
    assert set(truths(people)) == {"ratings"}
    assert not any("noiseless" in name for name in trust_metrics(people, trust, weigh, CONFIG, 1.0))
    assert len(trust_figure(people, trust).axes) == 4
    early = people[people["split"] != "test"]
    assert not any(name.startswith("test_") for name in trust_metrics(early, trust, weigh, CONFIG, 1.0))
    trust_figure(early, trust)
    bound_figure(early, np.ones(4), trust, weigh)
