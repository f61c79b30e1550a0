"""Ratings from the store or, if it is empty, from simulated raters who judge a whole folder of candidates."""

import logging

import pandas as pd

from prefpaint.fills.likeness import PhotographJudge
from prefpaint.images import ImageFolder
from prefpaint.preferences.schema import COMPARISON_COLUMNS, RATING_COLUMNS, WEIGHTS
from prefpaint.preferences.simulated import BATCH, CLOCK_START, NoiselessRater, simulate_ratings
from prefpaint.preferences.store import COMPARED, RatingStore, fitting
from prefpaint.preferences.taste import SimulatedConfig
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)


def stored_preferences(store: RatingStore, candidates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """People's ratings and comparisons of the candidates as they are now.

    Ratings of a picture that has since been regenerated are skipped with a warning: an id alone does not tell
    that it is another picture.

    Args:
        store: where they are kept.
        candidates: candidate_id, sha256.

    Returns:
        `RATING_COLUMNS` and `COMPARISON_COLUMNS`; None where the store holds neither.
    """
    if not store.is_there():
        return None
    ratings, comparisons = store.ratings(), store.comparisons()
    if ratings.empty and comparisons.empty:
        return None
    checksums = candidates.set_index("candidate_id")["sha256"]
    fits = fitting(ratings, checksums, {"candidate_id": "sha256"})
    pairs_fit = fitting(comparisons, checksums, COMPARED)
    for name, table, kept in (("ratings", ratings, fits), ("comparisons", comparisons, pairs_fit)):
        if not kept.all():
            first = table.loc[~kept].iloc[0, 0]
            logger.warning(
                "%d of %d %s are of pictures that no longer exist or have since been regenerated (first %s), and are "
                "skipped; they stay in the store",
                (~kept).sum(),
                len(table),
                name,
                first,
            )
    return ratings.loc[fits, [*RATING_COLUMNS]], comparisons.loc[pairs_fit, [*COMPARISON_COLUMNS]]


def simulate_all(
    candidates: pd.DataFrame,
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    judge: PhotographJudge,
    config: SimulatedConfig,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let every simulated rater rate every candidate.

    Args:
        candidates: candidate_id, prompt_id.
        candidate_images: by candidate id.
        prompt_masks: by prompt id.
        judge: of likeness to a photograph.
        config: taste and raters.

    Returns:
        Ratings (`RATING_COLUMNS`, sorted by candidate and rater; rated_at one second apart from `CLOCK_START` on,
        in that order, for simulated raters have no clock) and the noiseless opinion (candidate_id, noiseless in
        0-7, weighted like a score).
    """
    ordered = candidates.sort_values("candidate_id")
    rater = NoiselessRater(config.taste, judge)
    rated, opinions = [], []
    with Progress("simulated ratings", len(ordered)) as progress:
        for places in candidate_images.batches(ordered["candidate_id"].tolist(), BATCH):
            part = ordered.iloc[places]
            ids = part["candidate_id"].tolist()
            images, masks = candidate_images.stack(ids), prompt_masks.stack(part["prompt_id"])
            honest = rater.ratings(images, masks)
            rated.append(simulate_ratings(honest, ids, config))
            opinions.append(pd.DataFrame({"candidate_id": ids, "noiseless": honest @ WEIGHTS}))
            progress.step(len(ids))
    ratings = pd.concat(rated).sort_values(["candidate_id", "rater"], ignore_index=True)
    seconds = pd.to_timedelta(ratings.index.to_numpy(), unit="s")
    ratings["rated_at"] = (CLOCK_START + seconds).as_unit("us")
    noiseless = pd.concat(opinions).sort_values("candidate_id", ignore_index=True)
    return ratings[list(RATING_COLUMNS)], noiseless
