"""The alignment curve."""

import pandas as pd
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2f6db3", "#d9772b", "#8a8a8a"


def align_figure(history: pd.DataFrame, weight: str) -> Figure:
    """Reward, γ and width, ratio, and gradient norm over iterations.

    Args:
        history: one row per iteration, as `Aligner.run` returns.
        weight: how γ came about, in a few words.
    """
    figure = Figure(figsize=(13, 3.2), layout="constrained")
    reward, trust, ratio, gradient = figure.subplots(1, 4)
    x = history["iteration"]
    reward.plot(x, history["reward"], color=GREY, linewidth=1, label="sampled prompts")
    reward.plot(x, history["reward"].rolling(5, min_periods=1).mean(), color=BLUE, label="mean of 5")
    reward.set(title="Reward of samples", ylabel="reward")
    trust.plot(x, history["gamma"], color=BLUE, label="γ")
    trust.fill_between(
        x, history["gamma"] - history["gamma_spread"], history["gamma"] + history["gamma_spread"], color=BLUE, alpha=0.2
    )
    trust.set(title=f"γ ± 1 spread ({weight})", ylabel="γ")
    ratio.fill_between(x, history["ratio_least"], history["ratio_most"], color=BLUE, alpha=0.2)
    ratio.plot(x, history["ratio"], color=BLUE)
    ratio.set(title="Probability ratio, mean and range", ylabel="ratio")
    gradient.plot(x, history["gradient_norm"], color=ORANGE)
    gradient.set(title="Gradient norm before clipping", ylabel="norm")
    for axes in (reward, trust, ratio, gradient):
        axes.set_xlabel("iteration")
    reward.legend(fontsize=7, frameon=False)
    return figure
