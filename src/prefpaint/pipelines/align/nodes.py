"""Nodes of the `align` pipeline."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.images import ImageFolder
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reward.config import RewardConfig


def align_base(
    base_model: Any,
    reward_model: Any,
    trust: Any,
    prompts: pd.DataFrame,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    align_workspace: Path,
    config: AlignConfig,
    sampling: SamplingConfig,
    reward_config: RewardConfig,
) -> tuple[Any, pd.DataFrame]:
    """Reinforcement alignment on the train prompts; resumes from the workspace."""
    from prefpaint.alignment.trainer import Aligner, Prompts, TrustedReward
    from prefpaint.config import fingerprint
    from prefpaint.inpainting.checkpoint import module_digest
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.reward.amplification import amplification_to_align

    weigh = amplification_to_align(trust, config.gamma)
    chain = sampling.model_copy(update={"steps": config.steps})
    inpainter = Inpainter(base_model, chain)
    train = prompts[prompts["split"] == "train"]
    scorer = TrustedReward(reward_model.to(inpainter.device), trust, weigh, reward_config.score_batch)
    key = fingerprint(module_digest(reward_model), trust.digest(), chain, train["image_sha256"].tolist())
    aligner = Aligner(inpainter, scorer, Prompts(train["prompt_id"].tolist(), prompt_images, prompt_masks), config)
    history = aligner.run(align_workspace, key)
    base_model.unet = aligner.averaged
    return base_model, pd.DataFrame(history)


def report_alignment(align_history: pd.DataFrame, trust: Any, config: AlignConfig) -> tuple[dict[str, Any], Any]:
    """First and last rewards, which weights were used, extremes of the ratio, and what it cost."""
    from prefpaint.alignment.figures import align_figure
    from prefpaint.reward.amplification import amplification_to_align

    fell_back = amplification_to_align(trust, config.gamma).fell_back
    weight = "no information: 1 for all" if fell_back else config.gamma.kind

    window = max(1, len(align_history) // 5)
    samples = config.prompts * config.candidates
    metrics = {
        "iterations": len(align_history),
        "reward_first_fifth": float(align_history["reward"].head(window).mean()),
        "reward_last_fifth": float(align_history["reward"].tail(window).mean()),
        "gamma_fell_back": int(fell_back),
        "gamma_mean": float(align_history["gamma"].mean()),
        "gamma_spread": float(align_history["gamma_spread"].mean()),
        "ratio_least": float(align_history["ratio_least"].min()),
        "ratio_most": float(align_history["ratio_most"].max()),
        "clip_fraction": float(align_history["clipped"].mean()),
        "rewards_dropped": int(align_history["rewards_dropped"].sum()),
        "unet_evaluations": len(align_history) * samples * (config.steps + config.trained_steps),
    }
    rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
    return rounded, align_figure(align_history, weight)
