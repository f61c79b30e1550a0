"""Nodes of the `preferences` pipeline."""

import logging
from typing import Any

import pandas as pd

from prefpaint.images import ImageFolder
from prefpaint.preferences.config import PreferencesConfig
from prefpaint.preferences.reporting import preference_figure, preference_metrics
from prefpaint.preferences.schema import read_ratings
from prefpaint.preferences.scoring import Factors, apply_normalisation, fit_normalisation, score_candidates
from prefpaint.preferences.validation import Suite, check, link_tables

logger = logging.getLogger(__name__)


def collect_ratings(
    candidates: pd.DataFrame, candidate_images: ImageFolder, prompt_masks: ImageFolder, config: PreferencesConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """People's ratings from their file, or those of simulated raters.

    Returns:
        Ratings, and the simulated raters' noiseless opinion (candidate_id, noiseless; empty for people).
    """
    if config.ratings_file is not None:
        ratings = read_ratings(config.ratings_file, candidates["candidate_id"])
        logger.info("%d ratings of people, from %s", len(ratings), config.ratings_file)
        return ratings, pd.DataFrame({"candidate_id": pd.Series(dtype="str"), "noiseless": pd.Series(dtype="float64")})
    # Looks at pictures with torch.
    from prefpaint.preferences.collecting import simulate_all

    names = ", ".join(rater.name for rater in config.simulated.raters)
    logger.info("preferences.ratings_file is empty: the ratings are SIMULATED, by %s", names)
    return simulate_all(candidates, candidate_images, prompt_masks, config.simulated)


def check_preferences(
    ratings: pd.DataFrame,
    candidates: pd.DataFrame,
    prompts: pd.DataFrame,
    candidate_images: ImageFolder,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    rules: dict[str, Any],
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Hold ratings, candidates, prompts and files against each other before anything is saved.

    Returns:
        The ratings, and how much was checked.
    """
    linked = link_tables(prompts, candidates, ratings, prompt_images, prompt_masks, candidate_images)
    return ratings, check(linked, Suite.model_validate(rules)).as_metrics()


def score(
    ratings: pd.DataFrame, candidates: pd.DataFrame, prompts: pd.DataFrame, opinions: pd.DataFrame
) -> tuple[pd.DataFrame, list[Factors], pd.DataFrame]:
    """Normalised scores, their factors, and the noiseless opinion in the same units."""
    scores = score_candidates(ratings, candidates, prompts)
    normalisation = fit_normalisation(scores)
    scores["score"] = apply_normalisation(scores["raw"], scores, normalisation)
    noiseless = opinions.merge(scores[["candidate_id", "source", "pattern"]], on="candidate_id")
    noiseless["noiseless_score"] = apply_normalisation(noiseless["noiseless"], noiseless, normalisation)
    return scores, normalisation, noiseless[["candidate_id", "noiseless", "noiseless_score"]]


def report_preferences(
    ratings: pd.DataFrame,
    scores: pd.DataFrame,
    normalisation: list[Factors],
    noiseless: pd.DataFrame,
    checked: dict[str, int],
    config: PreferencesConfig,
) -> tuple[dict[str, float], Any]:
    """Flat metrics and a figure."""
    metrics = preference_metrics(ratings, scores, normalisation, noiseless, config.seed)
    return metrics | checked, preference_figure(ratings, scores, metrics)
