"""How held-out prompts are looked at during alignment."""

from pydantic import Field

from prefpaint.config import Config

# Of normalised scores, whose standard deviation is 1: a referee of few ratings may hardly distinguish fills, and what
# is smaller than this is no opinion.
LEAST_CHANGE = 0.01


class WatchConfig(Config):
    """Looks at validation prompts, on which nothing is trained."""

    every: int = Field(2, ge=1, description="Iterations between looks at validation prompts.")
    prompts: int = Field(
        64,
        ge=2,
        description="Prompts looked at, one fill each. A look costs about two network passes per step and prompt.",
    )
    patience: int | None = Field(
        4,
        ge=1,
        description="Alignment stops after this many looks without a better one by the referee; empty: never.",
    )
