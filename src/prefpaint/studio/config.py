"""How the rating studio hands out work."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from prefpaint.config import Config

Question = Literal["scores", "best", "pairs"]


class StudioConfig(Config):
    """`kedro rate`: what raters are shown, and how often."""

    seed: int = Field(0, ge=0, description="Seed of the order of prompts and of the candidates on a page.")
    question: Question = Field(
        "scores",
        description="scores: three scores of every candidate. best: the best candidate of a prompt, by one key. pairs: "
        "the better of two candidates, or a tie; of n candidates n pairs are shown, a ring drawn from the seed. "
        "Choices are stored as comparisons. Those say nothing about how prompts compare with each other, and count "
        "only for prompts without scores.",
    )
    order: Literal["seeded", "uncertain"] = Field(
        "seeded",
        description="seeded: prompts in an order drawn from the seed. uncertain: first the training prompts whose "
        "candidates the reward knows least about, judged by its trust width; validation and test prompts keep their "
        "places. With best and pairs a prompt is still treated as if its fills were scored. It needs "
        "`kedro run --pipelines=preferences,reward,bound` first, and embeds all candidates when the studio starts (a "
        "minute for 2,000 on one core).",
    )
    overlap: int = Field(
        3, ge=1, description="How many raters rate each prompt. Agreement and the noise ceiling need at least 2."
    )
    calibration: int = Field(
        4,
        ge=0,
        description="Pages with a known good and two known bad fills that every rater sees before real work. They "
        "are made of prompts with a known original that are kept for evaluation and never rated; 0: none.",
    )
    repeat_every: int = Field(
        10,
        ge=0,
        description="After this many pages an earlier one is shown again, to measure the rater's own consistency. "
        "Second showings are not among the ratings. 0: never.",
    )
    claim_minutes: float = Field(
        30, gt=0, description="A page that nobody has answered for this long is given to the next rater as well."
    )
    session_hours: float = Field(12, gt=0, description="How long a rater stays signed in.")
    url: str | None = Field(
        None,
        description="The address raters type in if a reverse proxy is in front, such as "
        "https://rate.example.org. Tokens are then required on loopback too.",
    )

    @field_validator("url")
    @classmethod
    def _is_origin(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("must be an address without a path, such as https://rate.example.org")
        # As browsers write it.
        return url.rstrip("/").lower()
