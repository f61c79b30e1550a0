"""Which training runs the `seeds` pipeline repeats."""

from pydantic import Field

from prefpaint.config import Config


class SeedsConfig(Config):
    """The `seeds` pipeline: does the gain hold beyond one training run?"""

    seeds: tuple[int, ...] = Field((1, 2), description="Training seeds besides the first run's; minutes each.")
    oracle: bool = Field(
        True, description="Align to the noiseless simulated rater itself too: what a perfect reward would reach."
    )
