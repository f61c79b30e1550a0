"""Pictures of the reward model's quality and of the trust put in it."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2f6db3", "#d9772b", "#8a8a8a"


def _calibration(axes: Axes, predicted: np.ndarray, truth: np.ndarray, label: str, colour: str, bins: int = 8) -> None:
    """Mean truth against mean prediction in equally filled bins, with standard errors."""
    order = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(predicted)))
    x = [predicted[rows].mean() for rows in order]
    y = [truth[rows].mean() for rows in order]
    error = [truth[rows].std() / np.sqrt(len(rows)) for rows in order]
    axes.errorbar(x, y, error, marker="o", color=colour, label=label, capsize=2)


def reward_figure(table: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Training curve (errors, where nothing descends), reward against score, calibration, differences within a prompt.

    Args:
        table: split, prompt_id, reward, score and noiseless_score (NaN when people rated) per candidate.
        history: epoch, train_loss, validation_loss, validation_pair_accuracy.
    """
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    curve, scatter, calibration, within = figure.subplots(1, 4)
    if len(history) > 1:
        curve.plot(history["epoch"], history["train_loss"], color=GREY, label="train loss")
        curve.plot(history["epoch"], history["validation_loss"], color=BLUE, label="validation loss")
        curve.axvline(history["validation_loss"].idxmin(), color=ORANGE, linewidth=1, label="kept")
        curve.set(title="Training", xlabel="epoch", ylabel="loss")
        curve.legend(fontsize=7, frameon=False)
    else:
        splits = ["train", "validation", "test"]
        errors = [(table["reward"] - table["score"])[table["split"] == split].to_numpy() for split in splits]
        curve.boxplot(errors, tick_labels=splits, showfliers=False, medianprops={"color": ORANGE})
        curve.axhline(0, color=GREY, linewidth=0.8)
        curve.set(title="Errors", ylabel="reward − score")
    test = table[table["split"] == "test"]
    reward, score = test["reward"].to_numpy(), test["score"].to_numpy()
    scatter.scatter(reward, score, s=6, alpha=0.5, color=BLUE)
    scatter.set(title="Test candidates", xlabel="reward", ylabel="score (mean rating)")
    _calibration(calibration, reward, score, "mean rating", BLUE)
    truth = test["noiseless_score"].to_numpy()
    if np.isfinite(truth).all():
        _calibration(calibration, reward, truth, "noiseless simulated rater", ORANGE)
    ends = [float(min(reward.min(), score.min())), float(max(reward.max(), score.max()))]
    calibration.plot(ends, ends, color=GREY, linewidth=1, linestyle="--", label="perfect")
    calibration.set(title="Calibration on test prompts", xlabel="reward", ylabel="score")
    centred = test.groupby("prompt_id")[["reward", "score"]].transform(lambda column: column - column.mean())
    within.scatter(centred["reward"], centred["score"], s=6, alpha=0.5, color=BLUE)
    within.axhline(0, color=GREY, linewidth=0.8)
    within.axvline(0, color=GREY, linewidth=0.8)
    within.set(title="Within a prompt", xlabel="reward − prompt mean", ylabel="score − prompt mean")
    calibration.legend(fontsize=7, frameon=False)
    return figure
