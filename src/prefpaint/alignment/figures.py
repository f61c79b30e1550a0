"""Curves of an alignment run."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.modes import MODES
from prefpaint.alignment.panels import BLUE, GREEN, GREY, ORANGE, band
from prefpaint.alignment.watch import LOOKS, best

REFEREE, NOISELESS = ("referee, decides", ORANGE), ("noiseless rater, only watches", GREEN)


def align_figure(history: pd.DataFrame, watched: pd.DataFrame, config: AlignConfig, weight: str) -> Figure:
    """What training saw above, what held-out prompts say below.

    Args:
        history: one row per iteration.
        watched: one row per look at held-out prompts.
        config: of the run; its mode draws the training.
        weight: how γ was obtained, in a few words.
    """
    figure = Figure(figsize=(13, 6.2), layout="constrained")
    above, below = figure.subplots(2, 4)
    free, mode = iter(above), MODES[config.mode]
    mode.panels(free, history, config, weight)
    axes = next(free)
    axes.plot(history["iteration"] + 1, history["gradient_norm"], color=GREY)
    axes.set(title="Gradient norm before clipping", ylabel="norm")
    for axes in free:
        axes.set_axis_off()
    others = () if config.learned_alone else tuple(config.rewards)
    _held_out(below, watched, "reward that is raised" if mode.raises_reward else "learned reward", others)
    for axes in (*above, *below):
        axes.set_xlabel("iterations done")
        axes.title.set_fontsize(10)
    return figure


def _held_out(place: Sequence[Axes], watched: pd.DataFrame, reward: str, others: Sequence[str]) -> None:
    x, chosen = watched["iteration"], watched["iteration"].iloc[best(watched.to_dict("records"))]
    scored = {"reward": (reward, BLUE), "referee": REFEREE}
    for axes, judges in ((place[0], scored), (place[1], {"noiseless": NOISELESS})):
        for name, (title, colour) in judges.items():
            if f"{name}_gain" in watched:
                band(axes, x, watched[f"{name}_gain"], watched[f"{name}_gain_error"], colour, title)
    for name in others:
        place[0].plot(x, watched[f"{name}_gain"], linestyle="--", linewidth=1, label=f"{name}, in its own units")
    place[0].set(title="Gain on held-out prompts ± 1 s.e.", ylabel="score units")
    place[1].set(title="Gain by the noiseless rater ± 1 s.e.", ylabel="points of 0–7")
    if "noiseless_gain" not in watched:
        place[1].set_axis_off()
        place[1].set_title("")
    for name, colour in zip(LOOKS, (ORANGE, GREEN, BLUE), strict=True):
        place[2].plot(x, watched[name], color=colour, marker=".", label=name)
    place[2].set(title="Drift of the fills from the base's", ylabel="difference, of 1")
    if "kl" in watched:
        place[3].plot(x, watched["kl"], color=BLUE, marker=".")
        place[3].set(title="KL to the base, per step and latent", ylabel="nats")
    else:
        place[3].set_axis_off()
    for axes in (place[0], place[1], place[2]):
        axes.axhline(0, color=GREY, linewidth=0.5)
    for axes in place:
        axes.axvline(chosen, color=GREY, linestyle=":", label="kept")
    for axes in place[:3]:
        axes.legend(fontsize=7, frameon=False)
