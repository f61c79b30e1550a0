"""Nodes of the `seeds` pipeline; the work is done in `experiments.seeds`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.experiments.seeds_config import SeedsConfig
from prefpaint.trust.config import BoundConfig


def repeat_training(
    job: Any,
    evaluate_metrics: dict[str, Any],
    workspace: Path,
    bound: BoundConfig,
    evaluate: EvaluateConfig,
    config: SeedsConfig,
) -> tuple[pd.DataFrame, str]:
    """Reward, alignment and evaluation again for each further seed and for the oracle."""
    from prefpaint.experiments import seeds

    table = seeds.repeat_training(seeds.Plan(job, bound, evaluate), evaluate_metrics, config, workspace)
    return table, seeds.seeds_markdown(table, evaluate.splits)
