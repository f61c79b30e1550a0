"""Variants of an alignment, each run from several seeds: what comparisons of them have in common."""

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from prefpaint.alignment.config import AlignConfig, over
from prefpaint.config import Config, without_empty
from prefpaint.trust.config import GammaConfig


class VariantsConfig(Config):
    """Alignments to compare.

    A variant is a set of `align` knobs, and of `gamma` knobs under that name. A knob that neither it nor `shared` sets
    takes its mode's value; `gamma` starts from the project's own.
    """

    variants: Annotated[dict[str, dict[str, Any]], BeforeValidator(without_empty)] = Field(
        min_length=1, description="Variants by name; time is proportional. null in conf/local removes one."
    )
    shared: dict[str, Any] = Field({}, description="Knobs of all variants; a variant's own take precedence.")
    baseline: str = Field(description="The variant that the others are compared with.")
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=2, description="Seeds of each variant; time is proportional.")
    target: float = Field(
        0.8, gt=0, le=1, description="Reward to reach, as a share of the baseline's mean gain in held-out reward."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.baseline not in self.variants:
            raise ValueError(f"baseline: {self.baseline} is not one of the variants {', '.join(self.variants)}")
        for name in self.variants:
            self.config(name, 0)
            self.gamma(name, GammaConfig())
        raised = {(str(made.rewards), made.combine) for made in (self.config(name, 0) for name in self.variants)}
        if len(raised) > 1:
            raise ValueError("variants: gains compare only where all raise the same rewards, combined alike")
        return self

    def _given(self, variant: str) -> dict[str, Any]:
        return over(self.shared, self.variants[variant])

    def config(self, variant: str, seed: int) -> AlignConfig:
        """The `align` knobs of one run."""
        given = {name: value for name, value in self._given(variant).items() if name != "gamma"}
        # Many runs: their figures are in the table, not in trackers.
        return AlignConfig.model_validate({"trackers": (), **given, "seed": seed})

    def gamma(self, variant: str, own: GammaConfig) -> GammaConfig:
        """The `gamma` knobs of a variant: its own over the project's, `own`."""
        return GammaConfig.model_validate(over({"gamma": own.model_dump()}, self._given(variant))["gamma"])
