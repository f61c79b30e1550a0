"""What sets one way of aligning apart from the others, as one value. Each is defined in its own file."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.job import Job
from prefpaint.alignment.loop import Method
from prefpaint.inpainting.sampling import Inpainter


@dataclass(frozen=True)
class Mode:
    """A way of aligning. Its knobs and their values are in `config`, under the same name.

    A history is a table with one row per iteration: iteration, gradient_norm, network_evaluations and whatever else the
    method's `iterate` gives.

    Attributes:
        method: makes what an iteration does; the inpainter samples the chain that is aligned.
        objective: the column of the history that training raises or lowers; its mean over the first and the last fifth
            of a run is part of the metrics.
        objective_words: what that column is, for the model card.
        raises_reward: whether that is the reward, the learned one unless others are named, which is then not an
            independent judge of the result.
        metrics: figures of a whole history, in addition to those that every mode has.
        panels: draws up to three panels of a history, taking as many axes as it needs; the last argument says in a few
            words how γ was obtained.
    """

    method: Callable[[Job, Inpainter], Method]
    objective: str
    objective_words: str
    raises_reward: bool
    metrics: Callable[[pd.DataFrame], dict[str, float | int]]
    panels: Callable[[Iterator[Axes], pd.DataFrame, AlignConfig, str], None]
