"""How the `ablate_order` pipeline simulates rating prompts in two orders."""

from pydantic import Field

from prefpaint.config import Config


class AblateOrderConfig(Config):
    """The `ablate_order` pipeline: prompts rated at random against prompts asked about by the trust width.

    The reward is the project's (`reward`), with one kernel head; images are embedded once. λ is chosen anew each time,
    as `reward` and `bound` do.
    """

    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=2, description="Seeds of the draws of prompts; time is proportional."
    )
    start: int = Field(32, ge=2, description="Prompts rated before the first choice, drawn at random for both orders.")
    batch: int = Field(32, ge=1, description="Prompts added before the reward and its widths are fitted anew.")
    batches: int = Field(8, ge=1, description="How often prompts are added; time is proportional.")
