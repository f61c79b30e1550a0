"""Simulated raters: likeness to a photograph and a written-down taste, with bias and noise per rater."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.fills.appearance import Appearance, appearance
from prefpaint.fills.likeness import PhotographJudge
from prefpaint.preferences.schema import WEIGHTS
from prefpaint.preferences.taste import SimulatedConfig, Taste

TOP = 7.0
# Simulated raters have no clock: ratings are stamped one second apart from here on.
CLOCK_START = pd.Timestamp("2000-01-01", tz="UTC")
BATCH = 256


@dataclass(frozen=True)
class NoiselessRater:
    """What a simulated rater without bias and noise would say; the true objective of the simulation.

    Each criterion is 7 · sigmoid(likeness + leniency − flaws), with the weights of the taste: structure looks at the
    edge and at colours, texture at texture energy on two scales, overall at all of them.

    Attributes:
        taste: weights.
        judge: of likeness to a photograph.
    """

    taste: Taste
    judge: PhotographJudge

    @classmethod
    def read(cls, saved: dict[str, Any], judge: PhotographJudge) -> "NoiselessRater | None":
        """The rater of the taste that the `preferences` pipeline saved; None where people rated and it is empty."""
        return cls(Taste.model_validate(saved), judge) if saved else None

    def ratings(self, images: np.ndarray, masks: np.ndarray, flaws: Appearance | None = None) -> np.ndarray:
        """Structure, texture and overall of N fills.

        Args:
            images: (N, H, W, 3) uint8, holes filled.
            masks: (N, H, W) uint8, 1 where the fill is.
            flaws: of the same fills, where they were measured already.

        Returns:
            (N, 3) float64 in [0, 7].
        """
        taste = self.taste
        seen = appearance(images, masks) if flaws is None else flaws
        fine, coarse = (energy - taste.preferred_log_energy for energy in (seen.log_energy, seen.log_energy_coarse))
        texture = taste.texture * (fine.abs() + coarse.abs()) / 2
        structure = taste.seam * seen.seam + taste.colour * seen.colour + taste.palette * seen.palette
        against = np.stack([part.double().numpy() for part in (structure, texture, structure + texture)], 1)
        liked = taste.likeness * self.judge.likeness(images, masks) + taste.leniency
        return np.asarray(TOP / (1 + np.exp(against - liked[:, None])))

    def score(self, images: np.ndarray, masks: np.ndarray, flaws: Appearance | None = None) -> np.ndarray:
        """The weighted rating, (N,) float64 in [0, 7]; arguments as for `ratings`."""
        return self.ratings(images, masks, flaws) @ np.asarray(WEIGHTS)

    def digest(self) -> str:
        """Changes whenever the rater would say something else."""
        return fingerprint(self.taste, self.judge.digest())


def simulate_ratings(opinions: np.ndarray, candidate_ids: list[str], config: SimulatedConfig) -> pd.DataFrame:
    """Ratings of every simulated rater for N candidates, whole numbers in 0-7.

    A rating depends only on the opinion, the candidate's id and the rater, so that candidates can be rated in any
    batches.

    Args:
        opinions: (N, 3), of `NoiselessRater.ratings`.
        candidate_ids: N names.
        config: raters and seed.

    Returns:
        Columns candidate_id, rater, structure, texture, overall; N · raters rows.
    """
    rows = []
    for candidate_id, honest in zip(candidate_ids, opinions, strict=True):
        for rater in config.raters:
            rng = np.random.default_rng(derive_seed("rating", config.seed, candidate_id, rater.name))
            rating = np.clip(np.rint(honest + rater.bias + rater.noise * rng.standard_normal(3)), 0, TOP)
            rows.append((candidate_id, rater.name, *rating.astype(int)))
    return pd.DataFrame(rows, columns=["candidate_id", "rater", "structure", "texture", "overall"])
