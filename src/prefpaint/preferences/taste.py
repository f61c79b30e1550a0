"""What simulated raters like, and how unreliable each of them is."""

from pydantic import Field

from prefpaint.config import Config


class Taste(Config):
    """How strongly each visible flaw lowers a rating; 0 switches a flaw off.

    The flaws are those of `preferences.appearance`: what can be seen in the picture itself. No rater knows
    the hidden original.
    """

    seam: float = Field(0.5, ge=0, description="A step across the hole's edge, in log units of gradient.")
    colour: float = Field(3.0, ge=0, description="A colour change between rings inside and outside the edge.")
    palette: float = Field(2.5, ge=0, description="Colours in the fill that occur nowhere in the known part.")
    texture: float = Field(0.45, ge=0, description="Texture energy that differs from what is preferred.")
    preferred_log_energy: float = Field(
        0.0,
        description="Log texture energy of the fill against the known part that is liked best: 0 as textured as "
        "its surroundings, negative calmer, positive busier.",
    )

    @classmethod
    def read(cls, saved: dict[str, float]) -> "Taste | None":
        """What the `preferences` pipeline saved: None, an empty dictionary, where people rated."""
        return cls.model_validate(saved) if saved else None


class SimulatedRater(Config):
    """One simulated rater: an honest opinion, shifted and blurred."""

    name: str = Field(min_length=1)
    bias: float = Field(0.0, description="Added to every rating, points of the 0-7 scale.")
    noise: float = Field(0.6, ge=0, description="Standard deviation of one rating, points of the 0-7 scale.")


class SimulatedConfig(Config):
    """The simulated raters of the embedded default; they step back as soon as the store holds people's ratings."""

    seed: int = Field(0, ge=0)
    taste: Taste = Taste()
    raters: tuple[SimulatedRater, ...] = Field(
        (
            SimulatedRater(name="simulated_1", bias=0.3, noise=0.5),
            SimulatedRater(name="simulated_2", bias=-0.2, noise=0.7),
            SimulatedRater(name="simulated_3", bias=0.0, noise=0.6),
        ),
        min_length=1,
    )
