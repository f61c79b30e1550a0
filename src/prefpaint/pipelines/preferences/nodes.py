"""Nodes of the `preferences` pipeline."""

import logging
from typing import Any

import pandas as pd

from prefpaint.datasets.expectations import Suite, check, link_tables
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.preferences.comparisons import no_comparisons
from prefpaint.preferences.config import PreferencesConfig
from prefpaint.preferences.reporting import preference_figure, preference_metrics
from prefpaint.preferences.scoring import Factors, apply_normalisation, fit_normalisation, score_candidates

logger = logging.getLogger(__name__)


def collect_ratings(
    store: Any,
    candidates: pd.DataFrame,
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    judge: Any,
    config: PreferencesConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """People's ratings and comparisons from the store, or ratings of simulated raters.

    Returns:
        Ratings, comparisons, the simulated raters' noiseless opinion (candidate_id, noiseless; empty for people) and
        their taste (empty for people).
    """
    # Looks at pictures with torch, and at databases.
    from prefpaint.preferences.collecting import simulate_all, stored_preferences

    stored = stored_preferences(store, candidates)
    if stored is not None:
        ratings, comparisons = stored
        logger.info("%d ratings and %d comparisons of people, from the store", len(ratings), len(comparisons))
        opinions = pd.DataFrame({"candidate_id": pd.Series(dtype="str"), "noiseless": pd.Series(dtype="float64")})
        return ratings, comparisons, opinions, {}
    names = ", ".join(rater.name for rater in config.simulated.raters)
    logger.info("the rating store is empty: the ratings are SIMULATED, by %s; `kedro rate` collects people's", names)
    ratings, opinions = simulate_all(candidates, candidate_images, prompt_masks, judge, config.simulated)
    return ratings, no_comparisons(), opinions, config.simulated.taste.model_dump()


def check_preferences(
    ratings: pd.DataFrame,
    comparisons: pd.DataFrame,
    taste: dict[str, Any],
    candidates: pd.DataFrame,
    prompts: pd.DataFrame,
    candidate_images: ImageFolder,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    rules: dict[str, Any],
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any], dict[str, int]]:
    """Check ratings, candidates, prompts and files against each other before anything is saved.

    Returns:
        The ratings, the comparisons, the simulated raters' taste, and how much was checked.
    """
    if ratings.empty and comparisons.empty:
        raise PrefPaintError(
            "the rating store holds only ratings of other candidates; rate these with `kedro rate`, or give "
            "rating_store another place in conf/local/catalog.yml to use the simulated raters"
        )
    linked = link_tables(prompts, candidates, ratings, prompt_images, prompt_masks, candidate_images)
    return ratings, comparisons, taste, check(linked, Suite.model_validate(rules)).as_metrics()


def score(
    ratings: pd.DataFrame,
    comparisons: pd.DataFrame,
    candidates: pd.DataFrame,
    prompts: pd.DataFrame,
    opinions: pd.DataFrame,
) -> tuple[pd.DataFrame, list[Factors], pd.DataFrame]:
    """Normalised scores, their factors, and the noiseless opinion in the same units."""
    scores = score_candidates(ratings, comparisons, candidates, prompts)
    normalisation = fit_normalisation(scores)
    scores["score"] = apply_normalisation(scores["raw"], scores, normalisation)
    noiseless = opinions.merge(scores[["candidate_id", "source", "pattern"]], on="candidate_id")
    noiseless["noiseless_score"] = apply_normalisation(noiseless["noiseless"], noiseless, normalisation)
    return scores, normalisation, noiseless[["candidate_id", "noiseless", "noiseless_score"]]


def report_preferences(
    ratings: pd.DataFrame,
    comparisons: pd.DataFrame,
    scores: pd.DataFrame,
    normalisation: list[Factors],
    noiseless: pd.DataFrame,
    checked: dict[str, int],
    config: PreferencesConfig,
) -> tuple[dict[str, float], Any]:
    """Flat metrics and a figure."""
    metrics = preference_metrics(ratings, comparisons, scores, normalisation, noiseless, config.seed)
    return metrics | checked, preference_figure(ratings, scores, metrics)
