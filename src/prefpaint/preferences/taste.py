"""What simulated raters like, and how unreliable each of them is."""

from pydantic import Field

from prefpaint.config import Config


class Taste(Config):
    """What makes a simulated rater like a fill: likeness to a photograph, minus the flaws weighted here.

    Likeness comes from the judge (`fills.likeness`), the flaws from `fills.appearance`; both look only at the
    picture. No rater knows the hidden original. A weight of 0 switches a part off.
    """

    likeness: float = Field(
        1.35, ge=0, description="Weight of the judge's likeness, which is 2 for photographs and 0 for the base's fills."
    )
    leniency: float = Field(
        -0.65,
        description="Added to every opinion: a fill of likeness 0 and without flaws gets 7 / (1 + exp(-leniency)).",
    )
    seam: float = Field(0.0, ge=0, description="Weight of a step across the hole's edge, in log units of gradient.")
    colour: float = Field(0.0, ge=0, description="Weight of a colour change between rings inside and outside the edge.")
    palette: float = Field(0.0, ge=0, description="Weight of colours that occur nowhere in the known part.")
    texture: float = Field(0.0, ge=0, description="Weight of texture energy that differs from what is preferred.")
    preferred_log_energy: float = Field(
        0.0,
        description="Log texture energy of the fill against the known part that is liked best: 0 as textured as "
        "its surroundings, negative calmer, positive busier.",
    )


class SimulatedRater(Config):
    """One simulated rater: an honest opinion, shifted and blurred."""

    name: str = Field(min_length=1, description="Name that the ratings carry; the noise is drawn from it too.")
    bias: float = Field(0.0, description="Added to every rating, points of the 0-7 scale.")
    noise: float = Field(0.6, ge=0, description="Standard deviation of one rating, points of the 0-7 scale.")


class SimulatedConfig(Config):
    """The simulated raters of the embedded default; unused as soon as the store holds people's ratings."""

    seed: int = Field(0, ge=0, description="Seed of the noise of all ratings.")
    taste: Taste = Taste()
    raters: tuple[SimulatedRater, ...] = Field(
        (
            SimulatedRater(name="simulated_1", bias=0.3, noise=0.5),
            SimulatedRater(name="simulated_2", bias=-0.2, noise=0.7),
            SimulatedRater(name="simulated_3", bias=0.0, noise=0.6),
        ),
        min_length=1,
        description="The raters; each rates every candidate.",
    )
