"""Whose preferences are collected."""

from pydantic import Field

from prefpaint.config import Config
from prefpaint.preferences.taste import SimulatedConfig


class PreferencesConfig(Config):
    """The `preferences` pipeline: the ratings in the store, or those of simulated raters where there are none."""

    simulated: SimulatedConfig = Field(
        SimulatedConfig(), description="Simulated raters stand in for people until the store holds ratings."
    )
    seed: int = Field(0, ge=0, description="Seed of the random halves of raters that the noise ceiling compares.")
