"""Nodes of the `ablate_order` pipeline; the work is done in `experiments.ablate_order`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.experiments.ablate_order_config import AblateOrderConfig
from prefpaint.images import ImageFolder
from prefpaint.reward.config import RewardConfig


def ablate_order(
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    candidates: pd.DataFrame,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    noiseless: pd.DataFrame,
    workspace: Path,
    reward: RewardConfig,
    config: AblateOrderConfig,
) -> tuple[pd.DataFrame, str, Any]:
    """Rate prompts in both orders from every seed; table, Markdown and figure."""
    from prefpaint.experiments import ablate_order as ordering
    from prefpaint.experiments.ablate_reward import RatedCandidates

    given = RatedCandidates(candidate_images, prompt_masks, candidates, prompts, scores, noiseless)
    table = ordering.compare(given, reward, config, workspace)
    return table, ordering.ablate_order_markdown(table), ordering.ablate_order_figure(table)
