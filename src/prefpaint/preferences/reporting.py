"""Collected preferences summed up in numbers and in one figure."""

import math
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.preferences.schema import CRITERIA, HIGHEST, LOWEST
from prefpaint.preferences.scoring import Factors, apply_normalisation, weighted_score
from prefpaint.stats.agreement import (
    krippendorff_alpha,
    pair_accuracy,
    rank_agreement,
    spearman,
    split_half,
    spread,
)

DIGITS = 6


def rater_labels(ratings: pd.DataFrame, scores: pd.DataFrame, normalisation: list[Factors]) -> pd.DataFrame:
    """Every rater's own normalised score of every candidate.

    Args:
        ratings: candidate_id, rater and the criteria.
        scores: candidate_id, prompt_id, source, pattern, split.
        normalisation: the factors behind `scores`.

    Returns:
        candidate_id, prompt_id, split, rater, value.
    """
    about = scores[["candidate_id", "prompt_id", "source", "pattern", "split"]]
    labels = ratings.assign(raw=weighted_score(ratings)).merge(about, on="candidate_id")
    labels["value"] = apply_normalisation(labels["raw"], labels, normalisation)
    return labels[["candidate_id", "prompt_id", "split", "rater", "value"]]


def noise_ceiling(labels: pd.DataFrame, scores: pd.DataFrame, noiseless: pd.DataFrame, seed: int) -> dict[str, float]:
    """How well the raters' mean label can be predicted, from halves of raters and from the noiseless score.

    Args:
        labels: from `rater_labels`.
        scores: candidate_id, prompt_id, score.
        noiseless: candidate_id, noiseless_score; empty for people's ratings.
        seed: of the halves.

    Returns:
        Flat numbers, NaN where undefined; those called `label_` only with simulated raters: the mean label
        against the noiseless score.
    """
    halves = split_half(labels, seed)
    found = {
        "half_spearman": halves.correlation,
        "half_pair_accuracy": halves.pair_accuracy,
        "reliability": halves.reliability,
        "ceiling_spearman": halves.ceiling,
    }
    if len(noiseless):
        both = scores.merge(noiseless, on="candidate_id")
        found["label_spearman"] = spearman(both["score"], both["noiseless_score"])
        found["label_pair_accuracy"] = pair_accuracy(both["score"], both["noiseless_score"], both["prompt_id"])
    return found


def preference_metrics(
    ratings: pd.DataFrame,
    comparisons: pd.DataFrame,
    scores: pd.DataFrame,
    normalisation: list[Factors],
    noiseless: pd.DataFrame,
    seed: int,
) -> dict[str, float]:
    """Flat numbers about ratings and scores.

    Args:
        ratings, comparisons, scores, normalisation, noiseless: as the `preferences` pipeline saves them.
        seed: of the halves of raters.

    Returns:
        Counts as they are, other numbers to 6 digits; what is undefined (agreement of a single rater) is skipped.
    """
    labels = rater_labels(ratings, scores, normalisation)
    found: dict[str, float] = {
        "ratings": len(ratings),
        "comparisons": len(comparisons),
        "raters": len({*ratings["rater"], *comparisons["rater"]}),
        "ratings_per_candidate": len(ratings) / len(scores),
        "simulated": int(len(noiseless) > 0),
    }
    for split, part in scores.groupby("split"):
        found[f"candidates_{split}"] = len(part)
        found[f"prompts_{split}"] = part["prompt_id"].nunique()
    for name in CRITERIA:
        found[f"alpha_{name}"] = krippendorff_alpha(ratings[name], ratings["candidate_id"])
    found["alpha_score"] = krippendorff_alpha(labels["value"], labels["candidate_id"])
    found["rank_agreement"] = rank_agreement(labels)
    for suffix, splits in (("", sorted(scores["split"].unique())), ("_test", ["test"])):
        of_splits = (labels[labels["split"].isin(splits)], scores[scores["split"].isin(splits)])
        found |= {key + suffix: value for key, value in noise_ceiling(*of_splits, noiseless, seed).items()}
    differences = spread(scores["score"], scores["prompt_id"])
    found["score_spread_between_prompts"] = differences.between
    found["score_spread_within_prompts"] = differences.within
    return {
        key: int(value) if isinstance(value, (int, np.integer)) else round(float(value), DIGITS)
        for key, value in found.items()
        if math.isfinite(value)
    }


def preference_figure(ratings: pd.DataFrame, scores: pd.DataFrame, metrics: dict[str, float]) -> Any:
    """Ratings per criterion, agreement between raters, and scores between and within prompts.

    Args:
        ratings, scores: as saved.
        metrics: from `preference_metrics`.

    Returns:
        A matplotlib Figure of three panels.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    values = np.arange(LOWEST, HIGHEST + 1)
    for number, name in enumerate(CRITERIA):
        share = ratings[name].value_counts(normalize=True).reindex(values, fill_value=0)
        left.bar(values + (number - 1) * 0.27, share, width=0.27, label=name)
    left.set(title="Ratings given", xlabel="rating", ylabel="share", xticks=values)
    left.legend(frameon=False)

    bars = [(f"α {name}", f"alpha_{name}") for name in (*CRITERIA, "score")]
    bars += [
        ("order alike\n(two raters)", "rank_agreement"),
        ("order alike\n(halves)", "half_pair_accuracy"),
        ("order as\nnoiseless", "label_pair_accuracy"),
    ]
    shown = [(title, metrics[key]) for title, key in bars if key in metrics]
    places = np.arange(len(shown))[::-1]
    drawn = middle.barh(places, [value for _, value in shown], color="C7")
    middle.bar_label(drawn, fmt="%.2f", padding=3)
    middle.set(title="Agreement", yticks=places, yticklabels=[title for title, _ in shown])
    middle.set_xlim(min([0.0, *(value for _, value in shown)]) * 1.2, 1.15)

    means = scores.groupby("prompt_id")["score"].transform("mean")
    bins = np.histogram_bin_edges(scores["score"], bins=40)
    between, within = (metrics.get(f"score_spread_{name}_prompts", math.nan) for name in ("between", "within"))
    outline = {"bins": bins, "histtype": "step"}
    right.hist(scores["score"], bins=bins, color="C7", alpha=0.4, label="candidates")
    prompt_means = means[~scores["prompt_id"].duplicated()]
    right.hist(prompt_means, **outline, color="C0", label=f"prompt means: σ {between:.2f}")
    right.hist(scores["score"] - means, **outline, color="C1", label=f"within prompts: σ {within:.2f}")
    right.set(title="Scores between and within prompts", xlabel="normalised score", ylabel="number")
    right.set_ylim(0, right.get_ylim()[1] * 1.3)
    right.legend(frameon=False, loc="upper left")
    raters = "simulated raters" if metrics["simulated"] else "raters"
    compared = f" and {int(metrics['comparisons']):,} comparisons" if metrics["comparisons"] else ""
    figure.suptitle(f"{len(ratings):,} ratings{compared} by {int(metrics['raters'])} {raters}")
    return figure
