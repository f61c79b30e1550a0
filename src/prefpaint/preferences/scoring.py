"""From ratings to scores: the weighted mean, normalised per (source, pattern)."""

from typing import TypedDict

import numpy as np
import pandas as pd

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.comparisons import comparison_scores
from prefpaint.preferences.schema import CRITERIA, WEIGHTS

GROUP = ["source", "pattern"]
FITTED_ON = "train"


class Factors(TypedDict):
    """Mean and population standard deviation of the raw scores of one (source, pattern); ready for JSON."""

    source: str
    pattern: str
    mean: float
    std: float
    count: int


def weighted_score(ratings: pd.DataFrame) -> pd.Series:
    """0.15 · structure + 0.15 · texture + 0.70 · overall (PrefPaint, arXiv 2410.21966, section 3).

    Args:
        ratings: N rows with the three criteria, 0-7.

    Returns:
        (N,) float64 in 0-7, with the index of `ratings`.
    """
    return pd.Series(ratings[list(CRITERIA)].to_numpy() @ np.asarray(WEIGHTS), index=ratings.index, name="raw")


def score_candidates(
    ratings: pd.DataFrame, comparisons: pd.DataFrame, candidates: pd.DataFrame, prompts: pd.DataFrame
) -> pd.DataFrame:
    """A score for every candidate that somebody rated or compared.

    The mean weighted rating; in prompts that nobody rated, what the comparisons say
    (`preferences.comparisons.comparison_scores`). The two are never mixed within a prompt, for their scales differ.

    Args:
        ratings: candidate_id, rater and the criteria.
        comparisons: COMPARISON_COLUMNS.
        candidates: candidate_id, prompt_id.
        prompts: prompt_id, source, pattern, split.

    Returns:
        candidate_id, prompt_id, source, pattern, split, raters (how many), raw (0-7), sorted by candidate_id.
    """
    # Sorted, so that the sum behind a mean does not depend on the order of the rows.
    ordered = ratings.sort_values(["candidate_id", "rater"])
    means = (
        ordered.assign(raw=weighted_score(ordered))
        .groupby("candidate_id", sort=True)["raw"]
        .agg(raters="size", raw="mean")
        .reset_index()
    )
    prompt_of = candidates.set_index("candidate_id")["prompt_id"]
    rated = set(means["candidate_id"].map(prompt_of))
    compared = comparison_scores(comparisons[~comparisons["candidate_a"].map(prompt_of).isin(rated)])
    means = pd.concat([means, compared]).sort_values("candidate_id") if len(compared) else means
    about = candidates[["candidate_id", "prompt_id"]].merge(prompts[["prompt_id", *GROUP, "split"]], on="prompt_id")
    scores = means.merge(about, on="candidate_id", validate="one_to_one")
    return scores[["candidate_id", "prompt_id", *GROUP, "split", "raters", "raw"]]


def fit_normalisation(scores: pd.DataFrame) -> list[Factors]:
    """Mean and standard deviation of the raw scores per (source, pattern), over the train split only.

    The paper normalises (s − mean) / std per (dataset, pattern), section 3. Nothing of the validation and test
    splits enters the factors.

    Args:
        scores: source, pattern, split, raw.

    Raises:
        PrefPaintError: a (source, pattern) has fewer than two train candidates, or all of them the same score.
    """
    groups = scores[scores["split"] == FITTED_ON].groupby(GROUP, sort=True)["raw"]
    fitted = groups.agg(mean="mean", std=lambda raw: raw.std(ddof=0), count="size")
    for source, pattern in sorted(set(map(tuple, scores[GROUP].to_numpy().tolist()))):
        count = int(fitted["count"].get((source, pattern), 0))
        if count < 2:
            raise PrefPaintError(
                f"ratings: source {source}, pattern {pattern} has {count} rated {FITTED_ON} candidates, and two are "
                "needed to normalise its scores; rate more of them, or drop the pattern from masks.patterns"
            )
        # Equal scores can differ in the last digit once they went through a mean.
        if fitted["std"][(source, pattern)] < 1e-9:
            raise PrefPaintError(
                f"ratings: all {count} rated {FITTED_ON} candidates of source {source}, pattern {pattern} have the "
                f"score {fitted['mean'][(source, pattern)]:.2f}, so there is no preference to learn; rate more of them "
                "or drop the pattern from masks.patterns"
            )
    return [
        Factors(source=source, pattern=pattern, mean=float(mean), std=float(std), count=int(count))
        for (source, pattern), mean, std, count in zip(
            fitted.index, fitted["mean"], fitted["std"], fitted["count"], strict=True
        )
    ]


def apply_normalisation(raw: pd.Series, groups: pd.DataFrame, normalisation: list[Factors]) -> pd.Series:
    """(raw − mean) / std with the factors of each row's (source, pattern).

    Args:
        raw: (N,) scores, 0-7.
        groups: N rows with source and pattern, in the order of `raw`.
        normalisation: from `fit_normalisation`.

    Returns:
        (N,) float64 with the index of `raw`, named `score`.

    Raises:
        PrefPaintError: a (source, pattern) has no factors.
    """
    factors = pd.DataFrame(normalisation).set_index(GROUP)
    keys = pd.MultiIndex.from_frame(groups[GROUP])
    position = factors.index.get_indexer(keys)
    if (position < 0).any():
        source, pattern = keys[int(np.argmax(position < 0))]
        raise PrefPaintError(
            f"normalisation: has no factors for source {source}, pattern {pattern}; run the preferences pipeline on "
            "ratings that include it"
        )
    mean, std = factors["mean"].to_numpy()[position], factors["std"].to_numpy()[position]
    return pd.Series((raw.to_numpy() - mean) / std, index=raw.index, name="score")
