"""How well rewards order candidates, overall and within a prompt."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from prefpaint.stats.agreement import pair_accuracy, pairs_within


def rank_correlation(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Spearman's ρ of two (N,) arrays; NaN when one of them is constant."""
    if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(spearmanr(predicted, truth).statistic)


def order_metrics(prefix: str, predicted: np.ndarray, truth: np.ndarray, prompt_ids: Sequence[str]) -> dict[str, float]:
    """Spearman's ρ and within-prompt pair accuracy under names that start with a prefix.

    Args:
        prefix: start of the two names.
        predicted, truth: (N,).
        prompt_ids: N ids.
    """
    return {
        f"{prefix}_spearman": rank_correlation(predicted, truth),
        f"{prefix}_pair_accuracy": pair_accuracy(predicted, truth, prompt_ids),
    }


def pair_accuracy_interval(
    predicted: np.ndarray, truth: np.ndarray, prompt_ids: Sequence[str], resamples: int, seed: int
) -> tuple[float, float]:
    """95 % bootstrap interval of the within-prompt pair accuracy; prompts are resampled as wholes.

    Args:
        predicted, truth: (N,).
        prompt_ids: N ids.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    ids = np.unique(np.asarray(prompt_ids), return_inverse=True)[1]
    hits, pairs = np.zeros(ids.max() + 1), np.zeros(ids.max() + 1)
    first, second = pairs_within(ids)
    true_sign = np.sign(truth[first] - truth[second])
    sign = np.sign(predicted[first] - predicted[second])
    known = true_sign != 0
    np.add.at(hits, ids[first[known]], np.where(sign == 0, 0.5, sign == true_sign)[known])
    np.add.at(pairs, ids[first[known]], 1)
    drawn = np.random.default_rng(seed).integers(0, len(hits), (resamples, len(hits)))
    shares = hits[drawn].sum(1) / np.maximum(pairs[drawn].sum(1), 1)
    low, high = np.percentile(shares, [2.5, 97.5])
    return float(low), float(high)
