"""Metrics and curves of an alignment run, from histories written down by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.figures import align_figure
from prefpaint.alignment.reporting import align_metrics
from prefpaint.errors import PrefPaintError
from prefpaint.pipelines.align.nodes import report_alignment
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, fit_trust

COUNT = 10
RATIOS, NORMS, NOISELESS = (
    "Probability ratio, mean and range",
    "Gradient norm before clipping",
    "Gain by the noiseless rater ± 1 s.e.",
)


def rollouts() -> pd.DataFrame:
    """Ten iterations whose reward rises from 0 to 9."""
    x = np.arange(COUNT, dtype=np.float64)
    return pd.DataFrame(
        {
            "iteration": x,
            "reward": x,
            "gamma": 1.0,
            "gamma_spread": 0.25,
            "ratio": 1.0,
            "ratio_least": 1 - x / 100,
            "ratio_most": 1 + x / 50,
            "clipped": x / 10,
            "rewards_dropped": 1.0,
            "gradient_norm": 1.0,
            "network_evaluations": 6 * (x + 1),
        }
    )


def pairs() -> pd.DataFrame:
    """Ten iterations whose loss falls from 9 to 0."""
    x = np.arange(COUNT, dtype=np.float64)
    columns = ("implicit_accuracy", "margin", "better_error_change", "worse_error_change", "gradient_norm")
    return pd.DataFrame(
        {"iteration": x, "loss": 9 - x, **dict.fromkeys(columns, 0.5), "network_evaluations": 4 * (x + 1)}
    )


def looks(noiseless: bool = True) -> pd.DataFrame:
    """Three looks; the referee likes the second most."""
    judges = ("reward", "referee", *(["noiseless"] if noiseless else []))
    return pd.DataFrame(
        {
            "iteration": [4.0, 8.0, 10.0],
            **{name: [0.5, 0.75, 0.625] for name in judges},
            **{f"{name}_gain": [0.25, 0.5, 0.375] for name in judges},
            **{f"{name}_gain_error": [0.125] * 3 for name in judges},
            **{name: [0.0, 0.0625, 0.125] for name in ("brightness", "saturation", "sharpness", "kl")},
        }
    )


def config(**given: Any) -> AlignConfig:
    return AlignConfig.model_validate({"mode": "ddpo", "iterations": COUNT, **given})


def test_metrics_of_sampled_fills_by_hand() -> None:
    found = align_metrics(rollouts(), looks(), config(), fell_back=True)
    assert (found["reward_first_fifth"], found["reward_last_fifth"]) == (0.5, 8.5)
    assert (found["ratio_least"], found["ratio_most"], found["clip_fraction"]) == (0.91, 1.18, 0.45)
    assert (found["gamma_mean"], found["gamma_spread"], found["gamma_fell_back"]) == (1, 0.25, 1)
    assert (found["rewards_dropped"], found["network_evaluations"], found["watch_best_iteration"]) == (10, 60, 8)
    assert (found["watch_noiseless_gain"], found["watch_kl"], found["watch_stopped_early"]) == (0.5, 0.0625, 0)


def test_metrics_of_pairs_by_hand() -> None:
    found = align_metrics(pairs(), looks(noiseless=False), config(mode="dpo", iterations=20), fell_back=False)
    assert (found["loss_first_fifth"], found["loss_last_fifth"]) == (8.5, 0.5)
    assert (found["network_evaluations"], found["watch_stopped_early"]) == (40, 1)
    assert not [name for name in found if name.startswith(("reward_", "ratio_", "clip_", "gamma_m"))]
    assert not [name for name in found if "noiseless" in name]


@pytest.mark.parametrize(
    ("knobs", "asks"),
    [
        ({}, True),
        ({"trust": "gate"}, True),
        ({"trust": "pessimistic"}, True),
        ({"trust": "none"}, False),
        ({"mode": "dpo"}, False),
        ({"mode": "dpo", "trust": "weight"}, True),
    ],
    ids=["ddpo", "gate", "pessimistic", "none", "dpo", "weighted dpo"],
)
def test_trust_is_asked_only_where_it_counts(knobs: dict[str, Any], asks: bool) -> None:
    history, asked = (pairs() if "mode" in knobs else rollouts()), config(**knobs)
    rated = Embedded(np.zeros((2, 2)), np.zeros(2), np.zeros(2), ["a", "b"])
    trust = replace(fit_trust(rated, rated, BoundConfig(ridge=1.0)), reasons=("the width ranks nothing",))
    assert report_alignment(history, looks(), trust, asked, GammaConfig())[0]["gamma_fell_back"] == asks
    use = GammaConfig(uninformative="use")
    assert report_alignment(history, looks(), trust, asked, use)[0]["gamma_fell_back"] == 0
    refusing = GammaConfig(uninformative="refuse")
    if asks:
        with pytest.raises(PrefPaintError, match="the width ranks nothing"):
            report_alignment(history, looks(), trust, asked, refusing)
    else:
        assert report_alignment(history, looks(), trust, asked, refusing)[0]["gamma_fell_back"] == 0


def gated() -> pd.DataFrame:
    """Rollouts whose least trusted samples are pulled."""
    x = np.arange(COUNT, dtype=np.float64)
    return rollouts().assign(gated=0.125, pull=x / 4, anchor_refreshed=(x % 5 == 4).astype(float))


def test_metrics_of_a_gate_by_hand() -> None:
    found = align_metrics(gated(), looks(), config(trust="gate"), fell_back=False)
    assert (found["gated"], found["pull"], found["anchor_refreshes"]) == (0.125, 1.125, 2)
    assert "pull" not in align_metrics(rollouts(), looks(), config(), fell_back=False)
    shown = titles(align_figure(gated(), looks(), config(trust="gate"), "trust: gate"))
    assert "Divergence of the least trusted; dotted: anchor replaced" in shown and "γ" not in " ".join(shown)


def titles(figure: Figure) -> list[str]:
    """Of the panels that are shown."""
    return [axes.get_title() for axes in figure.axes if axes.axison]


@pytest.mark.parametrize(("updates", "drawn"), [(1, False), (2, True)])
def test_ratios_are_drawn_where_they_can_leave_one(updates: int, drawn: bool) -> None:
    shown = titles(align_figure(rollouts(), looks(), config(inner_updates=updates), "exponential"))
    assert (RATIOS in shown) == drawn and NORMS in shown
    assert "γ ± 1 spread (exponential)" in shown and len(shown) == 7 + drawn


def test_the_figures_of_ddpo_have_no_ratios() -> None:
    for mode in ("ddpo", "published"):
        assert RATIOS not in titles(align_figure(rollouts(), looks(), config(mode=mode), "exponential"))
    for knob in ("clip", "inner_updates"):
        assert "ratio" in str(AlignConfig.model_fields[knob].description)
    assert "`inner_updates`" in str(AlignConfig.model_fields["clip"].description)


@pytest.mark.parametrize("noiseless", [False, True])
def test_the_figure_of_pairs_speaks_of_no_raised_reward(noiseless: bool) -> None:
    figure = align_figure(pairs(), looks(noiseless), config(mode="dpo"), "exponential")
    shown = titles(figure)
    assert shown[:4] == ["Loss of pairs", "Pairs ordered as rated", "Denoising error against the base's", NORMS]
    assert (NOISELESS in shown) == noiseless
    words = {text.get_text() for axes in figure.axes if (legend := axes.get_legend()) for text in legend.get_texts()}
    assert {"learned reward", "referee, decides", "worse fill"} <= words and "reward that is raised" not in words
