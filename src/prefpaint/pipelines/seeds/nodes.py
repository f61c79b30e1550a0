"""Nodes of the `seeds` pipeline; the work is done in `experiments.seeds`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.experiments.seeds_config import SeedsConfig
from prefpaint.images import ImageFolder
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reward.config import RewardConfig
from prefpaint.trust.config import BoundConfig, GammaConfig


def repeat_training(
    base_model: Any,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    candidate_images: ImageFolder,
    evaluate_metrics: dict[str, Any],
    taste: dict[str, Any],
    judge: Any,
    workspace: Path,
    sampling: SamplingConfig,
    reward: RewardConfig,
    bound: BoundConfig,
    gamma: GammaConfig,
    align: AlignConfig,
    evaluate: EvaluateConfig,
    config: SeedsConfig,
) -> tuple[pd.DataFrame, str]:
    """Reward, alignment and evaluation again for each further seed and for the oracle."""
    from prefpaint.experiments import seeds
    from prefpaint.preferences.simulated import NoiselessRater

    project = seeds.Project(
        base=base_model,
        prompts=prompts,
        scores=scores,
        prompt_images=prompt_images,
        prompt_masks=prompt_masks,
        candidate_images=candidate_images,
        rater=NoiselessRater.read(taste, judge),
        sampling=sampling,
        reward=reward,
        bound=bound,
        gamma=gamma,
        align=align,
        evaluate=evaluate,
    )
    table = seeds.repeat_training(project, evaluate_metrics, config, workspace)
    return table, seeds.seeds_markdown(table, evaluate.splits)
