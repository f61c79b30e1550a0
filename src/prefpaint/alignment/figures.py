"""Curves of an alignment run."""

from collections.abc import Iterator, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefpaint.alignment.watch import LOOKS, best

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9772b", "#4a9a5b", "#8a8a8a"
REFEREE, NOISELESS = ("referee, decides", ORANGE), ("noiseless rater, only watches", GREEN)


def align_figure(history: pd.DataFrame, watched: pd.DataFrame, weight: str, inner_updates: int = 1) -> Figure:
    """What training saw above, what held-out prompts say below.

    Args:
        history: one row per iteration, of any mode.
        watched: one row per look at held-out prompts.
        weight: how γ came about, in a few words.
        inner_updates: of the configuration. Probability ratios are drawn where it is above 1: with one update they
            are all 1.
    """
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    above, below = figure.subplots(2, 4)
    free, pairs = iter(above), "loss" in history
    if pairs:
        _training_of_pairs(free, history)
    else:
        _training_of_rollouts(free, history, weight, inner_updates > 1)
    axes = next(free)
    axes.plot(history["iteration"] + 1, history["gradient_norm"], color=GREY)
    axes.set(title="Gradient norm before clipping", ylabel="norm")
    for axes in free:
        axes.set_axis_off()
    _held_out(below, watched, "learned reward" if pairs else "reward that is raised")
    for axes in (*above, *below):
        axes.set_xlabel("iterations done")
        axes.title.set_fontsize(10)
    return figure


def _training_of_rollouts(free: Iterator[Axes], history: pd.DataFrame, weight: str, ratios: bool) -> None:
    x, axes = history["iteration"] + 1, next(free)
    axes.plot(x, history["reward"], color=GREY, linewidth=1, label="sampled prompts")
    axes.plot(x, history["reward"].rolling(5, min_periods=1).mean(), color=BLUE, label="mean of 5")
    axes.set(title="Reward of samples", ylabel="reward")
    axes.legend(fontsize=7, frameon=False)
    axes = next(free)
    _band(axes, x, history["gamma"], history["gamma_spread"], BLUE, None)
    axes.set(title=f"γ ± 1 spread ({weight})", ylabel="γ")
    if ratios:
        axes = next(free)
        axes.fill_between(x, history["ratio_least"], history["ratio_most"], color=BLUE, alpha=0.2)
        axes.plot(x, history["ratio"], color=BLUE)
        axes.set(title="Probability ratio, mean and range", ylabel="ratio")


def _training_of_pairs(free: Iterator[Axes], history: pd.DataFrame) -> None:
    x = history["iteration"] + 1
    shown = [
        ("loss", "Loss of pairs", "loss"),
        ("implicit_accuracy", "Pairs ordered as rated", "share"),
        ("better_error_change", "Denoising error against the base's", "mean squared error"),
    ]
    for name, title, unit in shown:
        axes = next(free)
        axes.plot(x, history[name], color=GREY, linewidth=0.5)
        axes.plot(x, history[name].rolling(20, min_periods=1).mean(), color=BLUE, label="better fill, mean of 20")
        axes.set(title=title, ylabel=unit)
    # The errors stand last in the list: the worse fill's go into the same panel.
    axes.plot(x, history["worse_error_change"].rolling(20, min_periods=1).mean(), color=ORANGE, label="worse fill")
    axes.legend(fontsize=7, frameon=False)


def _held_out(place: Sequence[Axes], watched: pd.DataFrame, reward: str) -> None:
    x, chosen = watched["iteration"], watched["iteration"].iloc[best(watched.to_dict("records"))]
    scored = {"reward": (reward, BLUE), "referee": REFEREE}
    for axes, judges in ((place[0], scored), (place[1], {"noiseless": NOISELESS})):
        for name, (title, colour) in judges.items():
            if f"{name}_gain" in watched:
                _band(axes, x, watched[f"{name}_gain"], watched[f"{name}_gain_error"], colour, title)
    place[0].set(title="Gain on held-out prompts ± 1 s.e.", ylabel="score units")
    place[1].set(title="Gain by the noiseless rater ± 1 s.e.", ylabel="points of 0–7")
    if "noiseless_gain" not in watched:
        place[1].set_axis_off()
        place[1].set_title("")
    for name, colour in zip(LOOKS, (ORANGE, GREEN, BLUE), strict=True):
        place[2].plot(x, watched[name], color=colour, marker=".", label=name)
    place[2].set(title="Drift of the fills from the base's", ylabel="difference, of 1")
    place[3].plot(x, watched["kl"], color=BLUE, marker=".")
    place[3].set(title="KL to the base, per step and latent", ylabel="nats")
    for axes in (place[0], place[1], place[2]):
        axes.axhline(0, color=GREY, linewidth=0.5)
    for axes in place:
        axes.axvline(chosen, color=GREY, linestyle=":", label="kept")
    for axes in place[:3]:
        axes.legend(fontsize=7, frameon=False)


def _band(axes: Axes, x: pd.Series, middle: pd.Series, half: pd.Series, colour: str, label: str | None) -> None:
    axes.plot(x, middle, color=colour, label=label)
    axes.fill_between(x, middle - half, middle + half, color=colour, alpha=0.2)
