"""What sets one way of aligning apart from the others, in one value. Each is made in a file of its own."""

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
    """A way of aligning. Its knobs and their values stand in `config`, found by the same name.

    A history is a table with one row per iteration: iteration, gradient_norm, unet_evaluations and whatever else the
    method's `iterate` gives.

    Attributes:
        method: makes what an iteration does; the inpainter samples the chain that is aligned.
        weighs: whether γ counts under a configuration. Where it does not, trust is never asked.
        objective: the column of the history that training raises or lowers; its mean over the first and the last fifth
            of a run is part of the metrics.
        objective_words: what that column is, for the model card.
        raises_reward: whether that is the learned reward, which then is no outside judge of the result.
        metrics: figures of a whole history beside those that every mode has.
        panels: draws up to three panels of a history, taking as many axes as it needs; the last argument says in a few
            words how γ came about.
    """

    method: Callable[[Job, Inpainter], Method]
    weighs: Callable[[AlignConfig], bool]
    objective: str
    objective_words: str
    raises_reward: bool
    metrics: Callable[[pd.DataFrame], dict[str, float | int]]
    panels: Callable[[Iterator[Axes], pd.DataFrame, AlignConfig, str], None]
