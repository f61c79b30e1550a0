"""Nodes of the `ablate_reward` pipeline; the work is done in `experiments.ablate_reward`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.experiments.ablate_reward_config import AblateRewardConfig
from prefpaint.images import ImageFolder
from prefpaint.reward.config import RewardConfig


def ablate_reward(
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    candidates: pd.DataFrame,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    noiseless: pd.DataFrame,
    workspace: Path,
    reward: RewardConfig,
    config: AblateRewardConfig,
) -> tuple[pd.DataFrame, str, Any]:
    """Train every combination from every seed; table, Markdown and figure."""
    from prefpaint.experiments import ablate_reward as ablation

    given = ablation.RatedCandidates(candidate_images, prompt_masks, candidates, prompts, scores, noiseless)
    table = ablation.compare(given, reward, config, workspace)
    return table, ablation.ablation_markdown(table), ablation.ablation_figure(table)
