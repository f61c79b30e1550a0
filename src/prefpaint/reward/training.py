"""Training the reward model on scores, half of it on differences within a prompt."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.preferences.agreement import pair_accuracy
from prefpaint.progress import Progress
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.model import RewardModel, to_tensors


@dataclass(frozen=True)
class RatedImages:
    """Candidates with scores, read from disk as they are needed.

    Attributes:
        candidates: images by candidate id.
        masks: masks by prompt id.
        candidate_ids: N ids.
        prompt_ids: N ids, of the prompts they fill.
        scores: (N,) float32 normalised scores.
    """

    candidates: ImageFolder
    masks: ImageFolder
    candidate_ids: Sequence[str]
    prompt_ids: Sequence[str]
    scores: np.ndarray

    def load(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, H, W, 3) and masks (n, H, W), uint8, of some rows."""
        return (
            self.candidates.stack(self.candidate_ids[row] for row in rows),
            self.masks.stack(self.prompt_ids[row] for row in rows),
        )

    def groups(self) -> list[np.ndarray]:
        """Row numbers of each prompt, in order of first appearance."""
        rows: dict[str, list[int]] = {}
        for row, prompt_id in enumerate(self.prompt_ids):
            rows.setdefault(prompt_id, []).append(row)
        return [np.array(numbers) for numbers in rows.values()]


def centre_within(values: Tensor, group: Tensor) -> Tensor:
    """Values minus the mean of their group; both (N,), groups numbered from 0."""
    count = int(group.max()) + 1
    total = torch.zeros(count).index_add_(0, group, values)
    size = torch.zeros(count).index_add_(0, group, torch.ones_like(values))
    return values - (total / size)[group]


def reward_loss(reward: Tensor, score: Tensor, group: Tensor, within: float, spread: tuple[float, float]) -> Tensor:
    """(1 − w) · MSE / σ² + w · MSE of prompt-centred values / σ_w².

    Each half is divided by the variance of its own target, so that the small differences within a prompt
    are not drowned by those between prompts.

    Args:
        reward, score: (N,).
        group: (N,) int64, number of the prompt each belongs to, from 0.
        within: w in [0, 1].
        spread: variance σ² of the scores and σ_w² of the prompt-centred scores, over the train split.
    """
    total = (reward - score).square().mean() / spread[0]
    centred = (centre_within(reward, group) - centre_within(score, group)).square().mean() / spread[1]
    return (1 - within) * total + within * centred


def _features(model: RewardModel, data: RatedImages, batch: int, title: str) -> Tensor:
    parts = []
    with Progress(title, len(data.candidate_ids)) as progress:
        for start in range(0, len(data.candidate_ids), batch):
            rows = np.arange(start, min(start + batch, len(data.candidate_ids)))
            parts.append(model.features(*data.load(rows), batch))
            progress.step(len(rows))
    return torch.cat(parts)


def _check(data: RatedImages, name: str) -> None:
    if len(data.scores) < 2:
        raise PrefPaintError(f"scores: {len(data.scores)} rated candidate(s) in split {name}; at least 2 are needed")
    if not np.isfinite(data.scores).all():
        bad = data.candidate_ids[int(np.nonzero(~np.isfinite(data.scores))[0][0])]
        raise PrefPaintError(f"scores: candidate {bad} has no finite score; run `kedro run --pipeline=preferences`")
    if float(np.ptp(data.scores)) == 0:
        raise PrefPaintError(f"scores: all candidates of split {name} have the same score; nothing can be learned")


def train_reward(
    train: RatedImages, validation: RatedImages, config: RewardConfig
) -> tuple[RewardModel, list[dict[str, float]]]:
    """Train on one split, keep the epoch that is best on another.

    Best is the smallest validation loss of the same form as the training loss. Features of a frozen
    backbone are computed once.

    Returns:
        The model in evaluation mode and one row per epoch (epoch, train_loss, validation_loss,
        validation_pair_accuracy).

    Raises:
        PrefPaintError: too few scores, NaN, or all equal.
    """
    _check(train, "train")
    _check(validation, "validation")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = RewardModel(config.backbone, config.head)
        return model, _fit(model, train, validation, config)


def _fit(
    model: RewardModel, train: RatedImages, validation: RatedImages, config: RewardConfig
) -> list[dict[str, float]]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    frozen = not model.backbone.trainable
    cached = {
        name: _features(model, data, config.score_batch, f"reward features ({name})")
        for name, data in (("train", train), ("validation", validation))
        if frozen
    }
    if frozen:
        model.head.mean.copy_(cached["train"].mean(0))
        model.head.std.copy_(cached["train"].std(0).clamp(min=1e-3))
    groups = train.groups()
    scores = torch.from_numpy(train.scores.astype(np.float32))
    row_group = torch.zeros(len(scores), dtype=torch.long)
    for number, rows in enumerate(groups):
        row_group[rows] = number
    spread = (float(scores.var()), max(float(centre_within(scores, row_group).square().mean()), 1e-6))
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
    steps = config.epochs * -(-len(groups) // config.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def forward(name: str, data: RatedImages, rows: np.ndarray) -> Tensor:
        if frozen:
            return model.head(cached[name][rows].to(device))[0].cpu()
        return model(*to_tensors(*data.load(rows), device))[0].float().cpu()

    validation_groups = validation.groups()
    history: list[dict[str, float]] = []
    best, best_loss = copy.deepcopy(model.state_dict()), float("inf")
    with Progress("train reward", config.epochs) as progress:
        for epoch in range(config.epochs):
            model.train()
            order = np.random.default_rng(derive_seed("reward", config.seed, epoch)).permutation(len(groups))
            losses = []
            for start in range(0, len(order), config.batch):
                chosen = order[start : start + config.batch]
                rows = np.concatenate([groups[i] for i in chosen])
                group = torch.from_numpy(np.repeat(np.arange(len(chosen)), [len(groups[i]) for i in chosen]))
                loss = reward_loss(forward("train", train, rows), scores[rows], group, config.within_prompt, spread)
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()))
            model.eval()
            with torch.no_grad():
                parts = [forward("validation", validation, rows) for rows in validation_groups]
                predicted = torch.cat(parts)
                order_v = np.concatenate(validation_groups)
                truth = torch.from_numpy(validation.scores.astype(np.float32))[order_v]
                group = torch.from_numpy(
                    np.repeat(np.arange(len(validation_groups)), [len(rows) for rows in validation_groups])
                )
                validation_loss = float(reward_loss(predicted, truth, group, config.within_prompt, spread))
            accuracy = pair_accuracy(predicted.numpy(), truth.numpy(), [validation.prompt_ids[i] for i in order_v])
            history.append(
                {
                    "epoch": epoch,
                    "train_loss": float(np.mean(losses)),
                    "validation_loss": validation_loss,
                    "validation_pair_accuracy": accuracy,
                }
            )
            progress.step(loss=history[-1]["train_loss"], validation=validation_loss)
            if validation_loss < best_loss:
                best, best_loss = copy.deepcopy(model.state_dict()), validation_loss
    model.load_state_dict(best)
    model.cpu().eval()
    return history
