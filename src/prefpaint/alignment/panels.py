"""What the panels of alignment's figures share."""

import pandas as pd
from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9772b", "#4a9a5b", "#8a8a8a"


def band(axes: Axes, x: pd.Series, middle: pd.Series, half: pd.Series, colour: str, label: str | None = None) -> None:
    """A line with a band of `half` on either side."""
    axes.plot(x, middle, color=colour, label=label)
    axes.fill_between(x, middle - half, middle + half, color=colour, alpha=0.2)


def reward_panel(axes: Axes, history: pd.DataFrame) -> None:
    """Mean reward of each iteration's samples, with a moving mean: iterations sample different prompts."""
    x = history["iteration"] + 1
    axes.plot(x, history["reward"], color=GREY, linewidth=1, label="sampled prompts")
    axes.plot(x, history["reward"].rolling(5, min_periods=1).mean(), color=BLUE, label="mean of 5")
    axes.set(title="Reward of samples", ylabel="reward")
    axes.legend(fontsize=7, frameon=False)


def trust_panel(axes: Axes, history: pd.DataFrame, weight: str) -> None:
    """γ of an iteration's samples, or, where trust is a gate, how far the least trusted are from what pulls them.

    Args:
        axes: to draw on.
        history: one row per iteration.
        weight: how γ was obtained, in a few words.
    """
    x = history["iteration"] + 1
    if "pull" not in history or not (history["gated"] > 0).any():
        band(axes, x, history["gamma"], history["gamma_spread"], BLUE)
        axes.set(title=f"γ ± 1 spread ({weight})", ylabel="γ")
        return
    axes.plot(x, history["pull"], color=BLUE, marker=".")
    for moved in x[history["anchor_refreshed"] > 0]:
        axes.axvline(moved, color=GREY, linestyle=":")
    axes.set(title="Divergence of the least trusted; dotted: anchor replaced", ylabel="from the anchor")
