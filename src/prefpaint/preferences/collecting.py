"""Simulated ratings of a whole folder of candidates, read in batches so that memory stays flat."""

import pandas as pd

from prefpaint.images import ImageFolder
from prefpaint.preferences.schema import RATING_COLUMNS, WEIGHTS
from prefpaint.preferences.simulated import BATCH, CLOCK_START, noiseless_ratings, simulate_ratings
from prefpaint.preferences.taste import SimulatedConfig
from prefpaint.progress import Progress


def simulate_all(
    candidates: pd.DataFrame, candidate_images: ImageFolder, prompt_masks: ImageFolder, config: SimulatedConfig
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Let every simulated rater rate every candidate.

    Args:
        candidates: candidate_id, prompt_id.
        candidate_images: by candidate id.
        prompt_masks: by prompt id.
        config: taste and raters.

    Returns:
        Ratings (`RATING_COLUMNS`, sorted by candidate and rater; rated_at one second apart from `CLOCK_START` on,
        in that order, for simulated raters have no clock) and the noiseless opinion (candidate_id, noiseless in
        0-7, weighted like a score).
    """
    ordered = candidates.sort_values("candidate_id")
    given, opinions = [], []
    with Progress("simulated ratings", len(ordered)) as progress:
        for start in range(0, len(ordered), BATCH):
            part = ordered.iloc[start : start + BATCH]
            ids = part["candidate_id"].tolist()
            images, masks = candidate_images.stack(ids), prompt_masks.stack(part["prompt_id"])
            given.append(simulate_ratings(images, masks, ids, config))
            honest = noiseless_ratings(images, masks, config.taste) @ WEIGHTS
            opinions.append(pd.DataFrame({"candidate_id": ids, "noiseless": honest}))
            progress.step(len(ids))
    ratings = pd.concat(given).sort_values(["candidate_id", "rater"], ignore_index=True)
    seconds = pd.to_timedelta(ratings.index.to_numpy(), unit="s")
    ratings["rated_at"] = (CLOCK_START + seconds).as_unit("us")
    return ratings[list(RATING_COLUMNS)], pd.concat(opinions, ignore_index=True)
