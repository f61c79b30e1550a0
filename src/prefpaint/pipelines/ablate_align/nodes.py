"""Nodes of the `ablate_align` pipeline; the work is done in `experiments.ablate_align`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.experiments.ablate_align_config import AblateAlignConfig


def ablate_align(job: Any, workspace: Path, config: AblateAlignConfig) -> tuple[pd.DataFrame, pd.DataFrame, str, Any]:
    """Align every variant from every seed; table, curves, Markdown and figure."""
    from prefpaint.experiments import ablate_align as ablation

    table, curves = ablation.compare(job, config, workspace)
    figure = ablation.ablate_align_figure(table, curves, config.splits)
    return table, curves, ablation.ablate_align_markdown(table, config.splits), figure
