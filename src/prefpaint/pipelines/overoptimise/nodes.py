"""Nodes of the `overoptimise` pipeline; the work is done in `experiments.overoptimise`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.experiments.overoptimise_config import OveroptimiseConfig


def overoptimise(job: Any, workspace: Path, config: OveroptimiseConfig) -> tuple[pd.DataFrame, pd.DataFrame, str, Any]:
    """Drive every variant from every seed; table, curves, Markdown and figure."""
    from prefpaint.experiments import overoptimise as experiment

    table, curves = experiment.overoptimise(job, config, workspace)
    figure = experiment.overoptimise_figure(curves, float(table["target"].iloc[0]))
    return table, curves, experiment.overoptimise_markdown(table, config.prompts), figure
