"""Whose preferences are collected."""

from pathlib import Path

from pydantic import Field

from prefpaint.config import Config
from prefpaint.preferences.taste import SimulatedConfig


class PreferencesConfig(Config):
    """The `preferences` pipeline: ratings of people, or of simulated raters."""

    ratings_file: Path | None = Field(
        None,
        description="Your people's ratings, CSV or parquet, one row per (candidate, rater): candidate_id, rater, "
        "structure, texture, overall (whole numbers 0-7), rated_at (ISO 8601, UTC unless it says otherwise). "
        "Empty: the simulated raters below.",
    )
    simulated: SimulatedConfig = Field(
        SimulatedConfig(), description="Stands in for people where there are none; unused with a ratings_file."
    )
    seed: int = Field(0, ge=0, description="Of the random halves of raters that the noise ceiling compares.")
