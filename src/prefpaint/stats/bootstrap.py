"""Win rates, means and their uncertainty. The unit is the prompt: all its samples are drawn together.

Arrays are (P, n): P prompts, n samples of each.
"""

from dataclasses import dataclass

import numpy as np

LOW, HIGH = 2.5, 97.5
# Drawn at a time, so that memory does not grow with the number of prompts.
DRAWN_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A mean over prompts with its 95 % interval.

    Attributes:
        value, low, high: NaN when no prompt has a value.
        prompts: how many had one.
    """

    value: float
    low: float
    high: float
    prompts: int


def bootstrap_mean(values: np.ndarray, resamples: int, seed: int) -> Estimate:
    """Mean over prompts and the percentile bootstrap's 95 % interval (Efron and Tibshirani 1993, section 13.3).

    Each resample draws P prompts with replacement; what was averaged inside a prompt is never torn apart.

    Args:
        values: (P,), one number per prompt; NaN marks prompts where it does not exist, which do not count.
        resamples: bootstrap draws.
        seed: of the draws. Equal seeds and equal P draw the same prompts.
    """
    present = values[np.isfinite(values)]
    if not len(present):
        return Estimate(float("nan"), float("nan"), float("nan"), 0)
    rng, rows = np.random.default_rng(seed), max(1, DRAWN_AT_ONCE // len(present))
    means = [
        present[rng.integers(0, len(present), (min(rows, resamples - start), len(present)))].mean(1)
        for start in range(0, resamples, rows)
    ]
    low, high = np.percentile(np.concatenate(means), (LOW, HIGH))
    return Estimate(float(present.mean()), float(low), float(high), len(present))


def share_won(challenger: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Share of comparisons the challenger wins, per prompt; a tie counts half.

    Args:
        challenger, base: (P, ...), broadcast against each other; each element of the result is a comparison.

    Returns:
        (P,) in [0, 1].
    """
    won = (challenger > base) + 0.5 * (challenger == base)
    return won.mean(axis=tuple(range(1, won.ndim)))


def best_of(judged: np.ndarray, chosen_by: np.ndarray, size: int) -> np.ndarray:
    """What a judge says of the sample somebody else would choose from each `size` samples.

    Samples are taken in groups in order; a remainder is not used.

    Args:
        judged: (P, n), the judge's scores.
        chosen_by: (P, n), the scores the choice is made by; the first of equals is chosen.
        size: S, at most n.

    Returns:
        (P, n // S).
    """
    groups = judged.shape[1] // size
    shape = (len(judged), groups, size)
    pick = chosen_by[:, : groups * size].reshape(shape).argmax(-1)
    return np.take_along_axis(judged[:, : groups * size].reshape(shape), pick[..., None], -1)[..., 0]


def win_rate_independent(best: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Every chosen sample against every single base sample, per prompt.

    Args:
        best: (P, g), from `best_of`.
        base: (P, m), drawn with other noise.

    Returns:
        (P,).
    """
    return share_won(best[:, :, None], base[:, None, :])


def win_rate_equal(best: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Every chosen sample against the base's samples from the noise it was chosen from, per prompt.

    Args:
        best: (P, g), from `best_of` over samples whose noise is, in order, that of `base`.
        base: (P, n), n at least g · S.

    Returns:
        (P,).
    """
    groups = best.shape[1]
    size = base.shape[1] // groups
    return share_won(best[:, :, None], base[:, : groups * size].reshape(len(base), groups, size))


def win_rate_later(values: np.ndarray) -> np.ndarray:
    """Every sample against each earlier one of the same model, per prompt: near one half, whatever the model.

    Args:
        values: (P, n), n at least 2, all from different noise.

    Returns:
        (P,).
    """
    earlier, later = np.triu_indices(values.shape[1], 1)
    return share_won(values[:, later], values[:, earlier])


def sample_variance(values: np.ndarray) -> np.ndarray:
    """Variance between the samples of one prompt (n − 1 below), (P,); NaN for a single sample."""
    if values.shape[1] < 2:
        return np.full(len(values), np.nan)
    return values.var(axis=1, ddof=1)


def order_accuracy(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Share of sample pairs of a prompt that a prediction orders as the truth does.

    Pairs equal in truth do not count; pairs equal in prediction count half.

    Args:
        predicted, truth: (P, n).

    Returns:
        (P,); NaN for a prompt without such a pair.
    """
    first, second = np.triu_indices(predicted.shape[1], 1)
    true_sign = np.sign(truth[:, first] - truth[:, second])
    sign = np.sign(predicted[:, first] - predicted[:, second])
    right = np.where(sign == 0, 0.5, sign == true_sign) * (true_sign != 0)
    pairs = (true_sign != 0).sum(1)
    return np.where(pairs > 0, right.sum(1) / np.maximum(pairs, 1), np.nan)
