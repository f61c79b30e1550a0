"""Which training runs the `seeds` pipeline repeats."""

from pydantic import Field

from prefpaint.config import Config


class SeedsConfig(Config):
    """The `seeds` pipeline: does the gain hold beyond one training run?"""

    seeds: tuple[int, ...] = Field((1, 2), description="Training seeds in addition to the first run's; minutes each.")
    oracle: bool = Field(
        True, description="Also align to the noiseless score itself (the oracle): what a perfect reward would reach."
    )
