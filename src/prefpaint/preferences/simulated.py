"""Simulated raters: a written-down taste, judged from what can be seen, with bias and noise per rater."""

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.preferences.appearance import Appearance, appearance
from prefpaint.preferences.schema import WEIGHTS
from prefpaint.preferences.taste import SimulatedConfig, Taste

TOP = 7.0
# Simulated raters have no clock: ratings are stamped one second apart from here on.
CLOCK_START = pd.Timestamp("2000-01-01", tz="UTC")
BATCH = 256


def noiseless_ratings(images: np.ndarray, masks: np.ndarray, taste: Taste) -> np.ndarray:
    """What a simulated rater without bias and noise would say.

    Each criterion is 7 · exp(−weighted flaws): structure looks at the edge and at colours, texture at
    texture energy on two scales, overall at all of them.

    Args:
        images: (N, H, W, 3) uint8, holes filled.
        masks: (N, H, W) uint8, 1 where the fill is.
        taste: weights of the flaws.

    Returns:
        (N, 3) float64 in [0, 7]: structure, texture, overall.
    """
    parts = [
        ratings_of(appearance(images[start : start + BATCH], masks[start : start + BATCH]), taste)
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def ratings_of(seen: Appearance, taste: Taste) -> np.ndarray:
    """The same from flaws that were measured already, (N, 3)."""
    energies = (seen.log_energy, seen.log_energy_coarse)
    texture = taste.texture * sum((energy - taste.preferred_log_energy).abs() for energy in energies) / 2
    structure = taste.seam * seen.seam + taste.colour * seen.colour + taste.palette * seen.palette
    flaws = np.stack([structure.numpy(), texture.numpy(), (structure + texture).numpy()], 1)  # type: ignore[union-attr]
    return np.asarray(TOP * np.exp(-flaws.astype(np.float64)))


def noiseless_score(images: np.ndarray, masks: np.ndarray, taste: Taste) -> np.ndarray:
    """The weighted noiseless rating, (N,) float64 in [0, 7]; the true objective of the simulation."""
    return noiseless_ratings(images, masks, taste) @ np.asarray(WEIGHTS)


def score_of(seen: Appearance, taste: Taste) -> np.ndarray:
    """The same from flaws that were measured already, (N,)."""
    return ratings_of(seen, taste) @ np.asarray(WEIGHTS)


def simulate_ratings(
    images: np.ndarray, masks: np.ndarray, candidate_ids: list[str], config: SimulatedConfig
) -> pd.DataFrame:
    """Ratings of every simulated rater for N candidates, whole numbers in 0-7.

    A rating depends on the candidate, its id and the rater alone, so that candidates can be rated in any
    batches.

    Returns:
        Columns candidate_id, rater, structure, texture, overall; N · raters rows.
    """
    opinion = noiseless_ratings(images, masks, config.taste)
    rows = []
    for candidate_id, honest in zip(candidate_ids, opinion, strict=True):
        for rater in config.raters:
            rng = np.random.default_rng(derive_seed("rating", config.seed, candidate_id, rater.name))
            given = np.clip(np.rint(honest + rater.bias + rater.noise * rng.standard_normal(3)), 0, TOP)
            rows.append((candidate_id, rater.name, *given.astype(int)))
    return pd.DataFrame(rows, columns=["candidate_id", "rater", "structure", "texture", "overall"])
