"""How far raters agree, and how well any predictor could do (the noise ceiling)."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from prefpaint.config import derive_seed

HALVINGS = 20


@dataclass(frozen=True)
class Spread:
    """Standard deviations of scores.

    Attributes:
        between: of the prompts' mean scores.
        within: of scores about their prompt's mean, pooled over prompts.
    """

    between: float
    within: float


@dataclass(frozen=True)
class SplitHalf:
    """How well one half of the raters predicts the other; NaN where no candidate has two raters.

    Attributes:
        correlation: Spearman's, between the mean labels of the halves.
        reliability: of the mean label of all raters, by the Spearman-Brown formula.
        ceiling: √reliability, the correlation of that label with an unlimited crowd's; no predictor correlates
            better with the label than that, but for luck.
        pair_accuracy: within a prompt, of one half against the other. Not corrected, because there is no
            standard correction: with all raters on one side it would be higher.
    """

    correlation: float
    reliability: float
    ceiling: float
    pair_accuracy: float


def krippendorff_alpha(values: ArrayLike, units: ArrayLike) -> float:
    """Krippendorff's α for interval data, missing ratings allowed.

    α = 1 − D_o / D_e with squared differences: D_o = 1/n Σ_u 1/(m_u − 1) Σ_{i≠j in u} (x_i − x_j)²,
    D_e = 1/(n(n − 1)) Σ_{i≠j} (x_i − x_j)², over the n ratings of units rated at least twice
    (K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section D).

    Args:
        values: (N,) ratings.
        units: (N,), what each of them is about.

    Returns:
        1 for perfect agreement, 0 for chance; NaN if nothing is rated twice or all ratings are the same.
    """
    codes = np.unique(np.asarray(units), return_inverse=True)[1]
    number = np.bincount(codes)
    kept = number[codes] > 1
    codes, x = codes[kept], np.asarray(values, np.float64)[kept]
    n = len(x)
    if n == 0:
        return float("nan")
    x = x - x.mean()
    # Σ_{i≠j} (x_i − x_j)² = 2 m Σx² − 2 (Σx)², so no pair need be formed.
    squares, sums, m = np.bincount(codes, x * x), np.bincount(codes, x), np.bincount(codes)
    observed = ((2 * m * squares - 2 * sums**2) / np.maximum(m - 1, 1)).sum() / n
    expected = (2 * n * (x * x).sum() - 2 * x.sum() ** 2) / (n * (n - 1))
    return float(1 - observed / expected) if expected > 0 else float("nan")


def pairs_within(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All index pairs (i, j) that share a group, each once; memory grows with their number, not with N²."""
    order = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    ends = np.repeat(np.cumsum(sizes), sizes)
    later = ends - np.arange(len(groups)) - 1
    first = np.repeat(np.arange(len(groups)), later)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(later) - later, later)
    return order[first], order[second]


def pair_accuracy(predicted: ArrayLike, truth: ArrayLike, prompt_ids: ArrayLike) -> float:
    """Share of candidate pairs within a prompt that are ordered as the truth orders them.

    Pairs equal in truth do not count; pairs equal in prediction count half.

    Args:
        predicted, truth: (N,).
        prompt_ids: (N,).

    Returns:
        In [0, 1], 0.5 by chance; NaN without any pair.
    """
    first, second = pairs_within(np.unique(np.asarray(prompt_ids), return_inverse=True)[1])
    x, y = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    agreed = np.sign(x[first] - x[second]) * np.sign(y[first] - y[second])
    counted = y[first] != y[second]
    return float((agreed[counted].mean() + 1) / 2) if counted.any() else float("nan")


def rank_agreement(labels: pd.DataFrame) -> float:
    """How often two raters order two candidates of a prompt alike.

    The mean over all (rater pair, candidate pair) in which both rated both: 1 for the same order, 0 for the
    opposite one, 1/2 where either sees a tie. That is (1 + τ_a) / 2 with Kendall's τ_a pooled over prompts.

    Args:
        labels: candidate_id, prompt_id, rater, value; one row per (candidate, rater).

    Returns:
        In [0, 1], 0.5 by chance; NaN without two such raters.
    """
    ordered = labels.sort_values(["prompt_id", "rater", "candidate_id"], ignore_index=True)
    first, second = pairs_within(ordered.groupby(["prompt_id", "rater"]).ngroup().to_numpy())
    value, names = ordered["value"].to_numpy(), ordered["candidate_id"].to_numpy()
    sign = np.sign(value[first] - value[second])
    return vote_agreement(pd.DataFrame({"a": names[first], "b": names[second], "up": sign > 0, "down": sign < 0}))


def vote_agreement(votes: pd.DataFrame) -> float:
    """The same from what raters said of pairs of candidates.

    Args:
        votes: a, b (a pair always in the same order), up (a is better), down (b is); one row per rater and pair.

    Returns:
        As `rank_agreement`.
    """
    counts = votes.groupby(["a", "b"]).agg(up=("up", "sum"), down=("down", "sum"), raters=("up", "size"))
    up, down, raters = (counts[name].to_numpy(np.float64) for name in ("up", "down", "raters"))
    pairs = (raters * (raters - 1) / 2).sum()
    alike, opposite = (up * (up - 1) / 2 + down * (down - 1) / 2).sum(), (up * down).sum()
    return float(0.5 + (alike - opposite) / (2 * pairs)) if pairs > 0 else float("nan")


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of two (N,) samples; NaN where it is undefined."""
    from scipy.stats import spearmanr

    a, b = np.asarray(x), np.asarray(y)
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def spearman_brown(correlation: float, factor: float) -> float:
    """Reliability of a label averaged over `factor` times as many raters: k r / (1 + (k − 1) r).

    W. Brown and C. Spearman, British Journal of Psychology 3, 1910. Derived for Pearson's correlation; with
    Spearman's, as here, it is the customary approximation.
    """
    return factor * correlation / (1 + (factor - 1) * correlation)


def split_half(labels: pd.DataFrame, seed: int, halvings: int = HALVINGS) -> SplitHalf:
    """The noise ceiling from the ratings, by splitting the raters at random, separately for every candidate.

    Of m raters of a candidate each half gets ⌊m/2⌋; correlations are averaged over the halvings and raised from
    half to all raters by the Spearman-Brown formula. Candidates with one rater do not count.

    Args:
        labels: candidate_id, prompt_id, rater, value; one row per (candidate, rater).
        seed: of the splits.
        halvings: how many splits are averaged.
    """
    ordered = labels.sort_values(["candidate_id", "rater"], ignore_index=True)
    raters = ordered.groupby("candidate_id")["rater"].transform("size").to_numpy()
    kept = ordered[raters > 1]
    if kept.empty:
        return SplitHalf(*[float("nan")] * 4)
    codes, names = pd.factorize(kept["candidate_id"])
    prompt_ids = kept.groupby("candidate_id", sort=False)["prompt_id"].first()[names].to_numpy()
    value = kept["value"].to_numpy(np.float64)
    number = np.bincount(codes)
    half = number // 2
    starts = (np.cumsum(number) - number)[codes]
    correlations, accuracies = [], []
    for index in range(halvings):
        draws = np.random.default_rng(derive_seed("halves", seed, index)).random(len(kept))
        order = np.lexsort((draws, codes))
        # Codes ascend, so every candidate keeps its block of rows and only the order inside it is drawn.
        place = np.arange(len(kept)) - starts
        drawn = value[order]
        first = np.bincount(codes, drawn * (place < half[codes])) / half
        second = np.bincount(codes, drawn * ((place >= half[codes]) & (place < 2 * half[codes]))) / half
        correlations.append(spearman(first, second))
        accuracies.append(pair_accuracy(first, second, prompt_ids))
    correlation = float(np.mean(correlations))
    reliability = spearman_brown(correlation, float(number.mean() / half.mean()))
    return SplitHalf(correlation, reliability, float(np.sqrt(max(reliability, 0.0))), float(np.mean(accuracies)))


def spread(scores: ArrayLike, prompt_ids: ArrayLike) -> Spread:
    """How much scores differ between prompts and within one.

    Args:
        scores: (N,).
        prompt_ids: (N,).

    Returns:
        Sample standard deviations; within: √(Σ (s − prompt mean)² / (N − number of prompts)).
    """
    values = pd.Series(np.asarray(scores, np.float64))
    grouped = values.groupby(np.asarray(prompt_ids))
    means, residuals = grouped.mean(), values - grouped.transform("mean")
    freedom = len(residuals) - len(means)
    within = float(np.sqrt((residuals**2).sum() / freedom)) if freedom > 0 else float("nan")
    return Spread(between=float(means.std(ddof=1)), within=within)
