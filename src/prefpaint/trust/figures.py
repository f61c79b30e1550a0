"""Pictures of trust: V and γ; errors against widths, and whether intervals keep their promise."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from prefpaint.reward.figures import BLUE, GREY, ORANGE
from prefpaint.trust.calibration import conformal_coverage, truths
from prefpaint.trust.fit import WIDTHS, Trust
from prefpaint.trust.gamma import Amplification

COLOURS = dict(zip(WIDTHS, (BLUE, ORANGE, GREY), strict=True))
LEVELS = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
BINS = 8


def bound_figure(table: pd.DataFrame, eigenvalues: np.ndarray, trust: Trust, weigh: Amplification) -> Figure:
    """Eigenvalues of ZᵀZ beside λ, the widths that are used, and γ.

    Args:
        table: of `calibration.trust_table`.
        eigenvalues: of ZᵀZ, any order.
        trust: of `calibration.judge`.
        weigh: how alignment uses the width.
    """
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    spectrum, widths, gammas = figure.subplots(1, 3)
    shown = np.sort(np.maximum(eigenvalues, trust.ridge * 1e-3))[::-1]
    spectrum.semilogy(np.arange(1, len(shown) + 1), shown, color=BLUE, label="eigenvalue")
    spectrum.axhline(trust.ridge, color=ORANGE, linewidth=1, label=f"λ = {trust.ridge:.3g}")
    spectrum.set(title="Eigenvalues of ZᵀZ", xlabel="rank")
    for column, axes in (("width", widths), ("gamma", gammas)):
        edges = np.histogram_bin_edges(table[column], 40)
        for split, colour in (("train", GREY), ("test", BLUE)):
            values = table.loc[table["split"] == split, column].to_numpy()
            if len(values):
                axes.hist(values, bins=edges, density=True, alpha=0.6, color=colour, label=split)
    widths.set(title=f"Trust width ({trust.width})", xlabel="width", yticks=[])
    at_limit = weigh.share_at_limit(table.loc[table["split"] != "train", "width"].to_numpy())
    gammas.set(title=f"γ, {weigh.config.kind}: {at_limit:.1%} of new ones at a limit", xlabel="γ", yticks=[])
    for axes in (spectrum, widths, gammas):
        axes.legend(fontsize=7, frameon=False)
    return figure


def _errors_against_width(axes: Axes, test: pd.DataFrame, truth: np.ndarray, trust: Trust) -> None:
    """The paper's Figure 2: errors under the line C · width."""
    order = np.argsort(test["elliptical"].to_numpy())
    width, error = test["elliptical"].to_numpy()[order], np.abs(test["ridge"].to_numpy() - truth)[order]
    axes.scatter(width, np.maximum(error, 1e-3), s=6, alpha=0.5, color=GREY)
    parts = np.array_split(np.arange(len(width)), min(BINS, len(width)))
    axes.plot(
        [width[p].mean() for p in parts], [error[p].mean() for p in parts], "o-", color=BLUE, label="mean in bins"
    )
    axes.plot(width, trust.bound_factor * width, color=ORANGE, label=f"bound: {trust.bound_factor:.3g} · width")
    axes.set(title="Error and its bound, test", xlabel="elliptical width", yscale="log", ylim=(1e-3, None))


def _reliability(axes: Axes, test: pd.DataFrame, error: np.ndarray) -> None:
    """Mean error in equally filled bins of every width, with standard errors."""
    for kind in WIDTHS:
        width = test[kind].to_numpy()
        standard = (width - width.mean()) / max(float(width.std()), 1e-12)
        parts = np.array_split(np.argsort(width, kind="stable"), min(BINS, len(width)))
        axes.errorbar(
            [standard[p].mean() for p in parts],
            [error[p].mean() for p in parts],
            [error[p].std() / np.sqrt(len(p)) for p in parts],
            marker="o",
            capsize=2,
            color=COLOURS[kind],
            label=kind,
        )
    axes.set(title="Reliability: what widths say of errors, test", xlabel="width, standardised", ylabel="mean |error|")


def _coverage(axes: Axes, table: pd.DataFrame) -> None:
    """Share of test ratings inside split-conformal intervals, against the promised share."""
    validation, test = (table[table["split"] == split] for split in ("validation", "test"))
    axes.plot([0.5, 1], [0.5, 1], color=GREY, linewidth=1, linestyle="--", label="as promised")
    for scaled, name, colour in ((False, "same length for all", ORANGE), (True, "length by width", BLUE)):
        kept = [conformal_coverage(validation, test, float(level), scaled)[0].get("ratings") for level in LEVELS]
        shown = [(level, share) for level, share in zip(LEVELS, kept, strict=True) if share is not None]
        if shown:
            axes.plot(*zip(*shown, strict=True), marker="o", color=colour, label=name)
    axes.set(title="Conformal intervals, test", xlabel="promised coverage", ylabel="share of ratings inside")


def trust_figure(table: pd.DataFrame, trust: Trust) -> Figure:
    """Errors against widths with the bound, errors, reliability of every width, coverage.

    The paper's Figures 2 and 9, and what they do not show. Errors are against the simulated raters' noiseless score
    where there is one, else against ratings; conformal intervals always promise to contain ratings.

    Args:
        table: of `calibration.trust_table`.
        trust: of `calibration.judge`.
    """
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    against, errors, reliability, coverage = figure.subplots(1, 4)
    test = table[table["split"] == "test"]
    if test.empty:
        figure.suptitle("No candidate of split test is rated")
        return figure
    found = truths(test)
    name, truth = list(found.items())[-1]
    _errors_against_width(against, test, truth, trust)
    against.set_ylabel(f"|ridge estimate − {'rating' if name == 'ratings' else 'noiseless score'}|")
    reward = test["reward"].to_numpy()
    for (kind, value), colour in zip(found.items(), (GREY, BLUE), strict=False):
        label = {"ratings": "against ratings", "noiseless": "against the noiseless score"}[kind]
        errors.hist(reward - value, bins=40, alpha=0.6, color=colour, label=label)
    errors.axvline(0, color=ORANGE, linewidth=1)
    errors.set(title="Errors of the reward, test", xlabel="reward − score", ylabel="candidates")
    _reliability(reliability, test, np.abs(reward - truth))
    _coverage(coverage, table)
    for axes in (against, errors, reliability, coverage):
        axes.legend(fontsize=7, frameon=False)
    return figure
