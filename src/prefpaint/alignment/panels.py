"""What the panels of alignment's figures share."""

import pandas as pd
from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9772b", "#4a9a5b", "#8a8a8a"


def band(axes: Axes, x: pd.Series, middle: pd.Series, half: pd.Series, colour: str, label: str | None = None) -> None:
    """A line with a band of `half` on either side."""
    axes.plot(x, middle, color=colour, label=label)
    axes.fill_between(x, middle - half, middle + half, color=colour, alpha=0.2)
