"""Nodes of the `ablate_align` pipeline; the work is done in `experiments.ablate_align`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.experiments.ablate_align_config import AblateAlignConfig
from prefpaint.images import ImageFolder
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reward.config import RewardConfig
from prefpaint.trust.config import GammaConfig


def ablate_align(
    base_model: Any,
    reward_model: Any,
    trust: Any,
    referee: Any,
    prompts: pd.DataFrame,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    candidate_images: ImageFolder,
    scores: pd.DataFrame,
    taste: dict[str, Any],
    judge: Any,
    workspace: Path,
    align: AlignConfig,
    gamma: GammaConfig,
    sampling: SamplingConfig,
    reward: RewardConfig,
    config: AblateAlignConfig,
) -> tuple[pd.DataFrame, pd.DataFrame, str, Any]:
    """Align every variant from every seed; table, curves, Markdown and figure."""
    from prefpaint.alignment.job import Job
    from prefpaint.experiments import ablate_align as ablation
    from prefpaint.preferences.simulated import NoiselessRater

    job = Job(
        base=base_model,
        reward_model=reward_model,
        trust=trust,
        referee=referee,
        prompts=prompts,
        prompt_images=prompt_images,
        prompt_masks=prompt_masks,
        candidate_images=candidate_images,
        scores=scores,
        rater=NoiselessRater.read(taste, judge),
        config=align,
        gamma=gamma,
        sampling=sampling,
        reward=reward,
    )
    table, curves = ablation.compare(job, config, workspace)
    figure = ablation.ablate_align_figure(table, curves, config.splits)
    return table, curves, ablation.ablate_align_markdown(table, config.splits), figure
