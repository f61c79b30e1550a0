"""Nodes of the `align` pipeline; the work is done in `alignment`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.images import ImageFolder
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reward.config import RewardConfig
from prefpaint.trust.config import GammaConfig


def train_referee(
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    reward: RewardConfig,
) -> Any:
    """A second reward model, fitted only to test ratings: the referee that watches alignment while it runs."""
    from prefpaint.masks.words import text_prompts
    from prefpaint.reward.training import RatedImages, train_reward

    test, validation = (
        RatedImages.of(candidate_images, prompt_masks, scores[scores["split"] == split], text_prompts(prompts))
        for split in ("test", "validation")
    )
    return train_reward(test, validation, reward)[0]


def make_job(
    base: Any,
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
    config: AlignConfig,
    gamma: GammaConfig,
    sampling: SamplingConfig,
    reward: RewardConfig,
) -> Any:
    """Everything that an alignment starts from."""
    from prefpaint.alignment.job import Job
    from prefpaint.preferences.simulated import NoiselessRater

    return Job(
        base=base,
        reward_model=reward_model,
        trust=trust,
        referee=referee,
        prompts=prompts,
        prompt_images=prompt_images,
        prompt_masks=prompt_masks,
        candidate_images=candidate_images,
        scores=scores,
        rater=NoiselessRater.read(taste, judge),
        config=config,
        gamma=gamma,
        sampling=sampling,
        reward=reward,
    )


def align_base(job: Any, workspace: Path) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Alignment on the train prompts, watched on validation prompts; resumes from the workspace."""
    from prefpaint import distributed
    from prefpaint.alignment.run import align
    from prefpaint.inpainting.families.registry import with_network

    if job.config.processes > 1 and distributed.processes() == 1:
        # They leave a finished run in the workspace, which is then read below.
        distributed.launch(lambda: align(job, workspace), job.config.processes, "align")
    result = align(job, workspace)
    return with_network(job.base, result.network), pd.DataFrame(result.history), pd.DataFrame(result.watched)


def report_alignment(
    align_history: pd.DataFrame, align_watched: pd.DataFrame, trust: Any, config: AlignConfig, gamma: GammaConfig
) -> tuple[dict[str, Any], Any]:
    """What alignment cost, what it did to the reward, and what held-out prompts say about it."""
    from prefpaint.alignment.figures import align_figure
    from prefpaint.alignment.job import left_out
    from prefpaint.alignment.reporting import align_metrics

    fell_back = config.raises_learned and left_out(config, trust, gamma)
    weight = gamma.kind if config.trust == "weight" else f"trust: {config.trust}"
    weight = weight if config.raises_learned else "none: 1 for all"
    weight = "no information: 1 for all" if fell_back else weight
    metrics = align_metrics(align_history, align_watched, config, fell_back)
    return metrics, align_figure(align_history, align_watched, config, weight)
