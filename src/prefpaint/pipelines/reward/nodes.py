"""Nodes of the `reward` pipeline."""

from typing import Any

import numpy as np
import pandas as pd

from prefpaint.images import ImageFolder
from prefpaint.reward.config import RewardConfig

RESAMPLES = 1000


def train_reward_model(
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    config: RewardConfig,
) -> tuple[Any, pd.DataFrame]:
    """Train on split `train`, select on `validation`."""
    from prefpaint.masks.words import text_prompts
    from prefpaint.reward.training import RatedImages, train_reward

    def rated(split: str) -> RatedImages:
        return RatedImages.of(candidate_images, prompt_masks, scores[scores["split"] == split], text_prompts(prompts))

    model, history = train_reward(rated("train"), rated("validation"), config)
    return model, pd.DataFrame(history)


def score_candidates(
    reward_model: Any,
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    prompts: pd.DataFrame,
    scores: pd.DataFrame,
    config: RewardConfig,
) -> pd.DataFrame:
    """Reward and embedding z of every rated candidate, a batch of images in memory at a time."""
    from prefpaint.masks.words import text_prompts
    from prefpaint.reward.training import RatedImages

    rated = RatedImages.of(candidate_images, prompt_masks, scores, text_prompts(prompts))
    reward, z = rated.scored(reward_model, config.score_batch)
    return scores[["candidate_id", "prompt_id", "split"]].reset_index(drop=True).assign(reward=reward, z=list(z))


def report_reward(
    embeddings: pd.DataFrame,
    scores: pd.DataFrame,
    noiseless: pd.DataFrame,
    reward_history: pd.DataFrame,
    config: RewardConfig,
) -> tuple[dict[str, Any], Any]:
    """Rank correlation and within-prompt accuracy per split, beside what the raters' own labels reach."""
    from prefpaint.reward.figures import reward_figure
    from prefpaint.reward.metrics import order_metrics, pair_accuracy_interval

    table = embeddings.merge(scores[["candidate_id", "score"]], on="candidate_id")
    table = table.merge(noiseless[["candidate_id", "noiseless_score"]], on="candidate_id", how="left")
    metrics: dict[str, Any] = {}
    if len(reward_history) > 1:
        metrics["best_epoch"] = int(reward_history["validation_loss"].idxmin())
    for split, rows in table.groupby("split"):
        reward, score, ids = rows["reward"].to_numpy(), rows["score"].to_numpy(), rows["prompt_id"].tolist()
        metrics[f"{split}_candidates"] = len(rows)
        metrics |= order_metrics(f"{split}_ratings", reward, score, ids)
        truth = rows["noiseless_score"].to_numpy()
        if np.isfinite(truth).all():
            metrics |= order_metrics(f"{split}_noiseless", reward, truth, ids)
            low, high = pair_accuracy_interval(reward, truth, ids, RESAMPLES, config.seed)
            metrics |= {f"{split}_noiseless_pair_accuracy_low": low, f"{split}_noiseless_pair_accuracy_high": high}
            metrics |= order_metrics(f"{split}_ceiling_raters_mean_vs_noiseless", score, truth, ids)
    rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
    return rounded, reward_figure(table, reward_history)
