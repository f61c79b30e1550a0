"""Training the reward model on scores: a closed form for kernel heads, descent for the published kind."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, in_order
from prefpaint.progress import Progress
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.linear import choose_ridge, ridge
from prefpaint.reward.model import RewardModel, standardise, to_tensors
from prefpaint.stats.agreement import pair_accuracy, pairs_within


@dataclass(frozen=True)
class RatedImages:
    """Candidates with scores, read from disk as they are needed.

    Attributes:
        candidates: images by candidate id.
        masks: masks by prompt id.
        candidate_ids: N ids.
        prompt_ids: N ids, of the prompts they fill.
        scores: (N,) float32 normalised scores.
        texts: words by prompt id; a prompt without any may be missing.
    """

    candidates: ImageFolder
    masks: ImageFolder
    candidate_ids: Sequence[str]
    prompt_ids: Sequence[str]
    scores: np.ndarray
    texts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, candidates: ImageFolder, masks: ImageFolder, scores: pd.DataFrame, texts: Mapping[str, str]
    ) -> "RatedImages":
        """Some rows of the scores table: candidate_id, prompt_id, score; and all prompts' words."""
        ids, prompt_ids = scores["candidate_id"].tolist(), scores["prompt_id"].tolist()
        return cls(candidates, masks, ids, prompt_ids, scores["score"].to_numpy(np.float32), texts)

    def load(self, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images (n, H, W, 3) and masks (n, H, W), uint8, of some rows."""
        return (
            self.candidates.stack(self.candidate_ids[row] for row in rows),
            self.masks.stack(self.prompt_ids[row] for row in rows),
        )

    def texts_of(self, rows: Sequence[int] | np.ndarray) -> list[str]:
        """Words of some rows; "" for none."""
        return [self.texts.get(self.prompt_ids[row], "") for row in rows]

    def batches(self, size: int) -> list[np.ndarray]:
        """Row numbers in batches of pictures of one shape, see `ImageFolder.batches`."""
        return self.candidates.batches(self.candidate_ids, size)

    def scored(self, model: RewardModel, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Rewards (N,) and embeddings (N, K · embedding) of all, `size` images in memory at a time."""
        batches = self.batches(size)
        parts = [model.score(*self.load(rows), size, self.texts_of(rows)) for rows in batches]
        rewards, z = zip(*parts, strict=True)
        return in_order(batches, rewards), in_order(batches, z)

    def features(self, model: RewardModel, size: int, title: str) -> Tensor:
        """What `RewardModel.read` reads of all, (N, features), `size` images in memory at a time.

        Args:
            model: whose backbone looks.
            size: images at a time.
            title: of the progress bar.
        """
        return _in_batches(self, size, title, lambda rows: model.features(*self.load(rows), size, self.texts_of(rows)))

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


def pairwise_loss(reward: Tensor, score: Tensor, group: Tensor) -> Tensor:
    """−mean log σ(r_i − r_j) over pairs of one prompt in which i has the higher score (Bradley and Terry 1952).

    Args:
        reward, score: (N,).
        group: (N,) int64, number of the prompt each belongs to.

    Returns:
        Scalar; 0 without such a pair.
    """
    first, second = (torch.from_numpy(rows) for rows in pairs_within(group.numpy()))
    sign = torch.sign(score[first] - score[second])
    known = sign != 0
    loss = F.softplus(-sign * (reward[first] - reward[second]))[known]
    return loss.mean() if len(loss) else reward.sum() * 0


def ordinal_loss(reward: Tensor, level: Tensor, levels: int, spread: Tensor) -> Tensor:
    """Cross-entropy of ordered levels under proportional odds: P(level ≤ k) = σ(θ_k − r) (McCullagh 1980).

    The levels have equal shares, so θ_k = spread · logit((k + 1) / levels): the mean reward stays near 0.

    Args:
        reward: (N,).
        level: (N,) int64 from 0 to levels − 1.
        levels: how many.
        spread: scalar, learned: how far apart the thresholds lie.
    """
    share = torch.arange(1, levels) / levels
    threshold = spread * torch.logit(share)
    below = torch.sigmoid(threshold - reward[:, None])
    edges = torch.cat([torch.zeros_like(below[:, :1]), below, torch.ones_like(below[:, :1])], 1)
    probability = edges.gather(1, level[:, None] + 1) - edges.gather(1, level[:, None])
    return -torch.log(probability.clamp(min=1e-12)).mean()


class _Objective(nn.Module):
    """The configured loss of (reward, score, group), its constants fitted on the train split."""

    def __init__(self, config: RewardConfig, score: Tensor, group: Tensor) -> None:
        super().__init__()
        self.config = config
        centred = centre_within(score, group)
        self.variances = (float(score.var()), max(float(centred.square().mean()), 1e-6))
        inner = torch.arange(1, config.levels) / config.levels
        self.limits = torch.quantile(score, inner)
        self.spread = nn.Parameter(torch.ones(()), requires_grad=config.objective == "classification")

    def forward(self, reward: Tensor, score: Tensor, group: Tensor) -> Tensor:
        if self.config.objective == "pairwise":
            return pairwise_loss(reward, score, group)
        if self.config.objective == "classification":
            return ordinal_loss(reward, torch.bucketize(score, self.limits), self.config.levels, self.spread)
        return reward_loss(reward, score, group, self.config.within_prompt, self.variances)

    def unit(self, reward: Tensor, score: Tensor, group: Tensor) -> float:
        """What the reward must be multiplied by to be in score units: 1 for a regression."""
        if self.config.objective == "regression":
            return 1.0
        if self.config.objective == "pairwise":
            reward, score = centre_within(reward, group), centre_within(score, group)
        return float((reward * score).sum() / reward.square().sum().clamp(min=1e-12))


def _in_batches(data: RatedImages, batch: int, title: str, look: Callable[[np.ndarray], Tensor]) -> Tensor:
    """What `look` finds of some rows, for all of them."""
    parts, batches = [], data.batches(batch)
    with Progress(title, len(data.candidate_ids)) as progress:
        for rows in batches:
            parts.append(look(rows))
            progress.step(len(rows))
    return torch.cat(parts)[np.argsort(np.concatenate(batches))]


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
    """Train on one split, choose on another.

    What is chosen: for a kernel head the ridge λ with the least squared error, for an mlp head the epoch with the
    least loss, in the form that training minimises. Features of a frozen backbone are computed once.

    Returns:
        The model in evaluation mode and one row per epoch (epoch, train_loss, validation_loss,
        validation_pair_accuracy); a kernel head has one row, with mean squared errors for losses.

    Raises:
        PrefPaintError: too few scores, NaN, or all equal.
    """
    _check(train, "train")
    _check(validation, "validation")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = RewardModel(config.backbone, config.head, config.ensemble, text=config.text)
        model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        trainer = _Trainer(model, train, validation, config)
        history = trainer.place_kernels() if config.head.kind == "kernel" else trainer.descend()
    model.cpu().eval()
    return model, history


class _Split:
    """One split's candidates as tensors, its prompts numbered from 0."""

    def __init__(self, data: RatedImages) -> None:
        self.data = data
        self.score = torch.from_numpy(data.scores.astype(np.float32))
        self.groups = data.groups()
        self.group = torch.zeros(len(self.score), dtype=torch.long)
        for number, rows in enumerate(self.groups):
            self.group[rows] = number


class _Trainer:
    """One training of a reward model, in place."""

    def __init__(self, model: RewardModel, train: RatedImages, validation: RatedImages, config: RewardConfig) -> None:
        self.model, self.config = model, config
        self.train, self.validation = _Split(train), _Split(validation)
        self.cached: dict[int, Tensor] = {}
        # Of CLIP, which is never trained, whatever the backbone does.
        self.similar: dict[int, Tensor] = {}
        for split, name in ((self.train, "train"), (self.validation, "validation")):
            if not model.backbone.trainable:
                self.cached[id(split)] = self._features(split, f"reward features ({name})")
            if model.text is not None:
                self.similar[id(split)] = self._similarity(split, f"similarity to words ({name})")

    def _features(self, split: _Split, title: str) -> Tensor:
        batch = self.config.score_batch
        return _in_batches(
            split.data, batch, title, lambda rows: self.model.backbone_features(*split.data.load(rows), batch)
        )

    @torch.no_grad()
    def _similarity(self, split: _Split, title: str) -> Tensor:
        """(N, 1), in the unit that the train split sets."""
        data, batch, text = split.data, self.config.score_batch, self.model.text
        assert text is not None

        def look(rows: np.ndarray) -> Tensor:
            return self.model.cosines(*data.load(rows), data.texts_of(rows), batch)

        cosines = _in_batches(data, batch, title, look)
        if split is self.train:
            text.fit(cosines)
        return text.feature(cosines.to(self.model.device)).cpu()

    def _draws(self, head: int) -> np.ndarray:
        """How often each training prompt counts for a head: once, or in an ensemble as a bootstrap draw has it."""
        count = len(self.train.groups)
        if self.config.ensemble == 1:
            return np.ones(count, int)
        rng = np.random.default_rng(derive_seed("bootstrap", self.config.seed, head))
        return np.bincount(rng.integers(0, count, count), minlength=count)

    def _rows(self, prompts: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, Tensor]:
        """Rows of some prompts, each as often as drawn, and a group number for every drawn prompt."""
        drawn = np.repeat(prompts, draws[prompts])
        groups = [self.train.groups[number] for number in drawn]
        if not groups:
            return np.zeros(0, int), torch.zeros(0, dtype=torch.long)
        sizes = [len(rows) for rows in groups]
        return np.concatenate(groups), torch.from_numpy(np.repeat(np.arange(len(groups)), sizes))

    def _row(self, epoch: int, train_loss: float, validation_loss: float, reward: Tensor) -> dict[str, float]:
        split = self.validation
        accuracy = pair_accuracy(reward.numpy(), split.score.numpy(), split.group.numpy())
        return {
            "epoch": epoch,
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "validation_pair_accuracy": accuracy,
        }

    @torch.no_grad()
    def place_kernels(self) -> list[dict[str, float]]:
        """Landmarks and ridge readout of every head, both closed forms."""
        train, validation = self.train, self.validation
        known, unseen = (self._backbone(split, slice(None)) for split in (train, validation))
        self.model.eval()
        for number, head in enumerate(self.model.heads):
            rows, _ = self._rows(np.arange(len(train.groups)), self._draws(number))
            seed = derive_seed("landmarks", self.config.seed, number)
            head.place(known[np.unique(rows)], seed, self.model.scaled)
            z, z_validation = head(known[rows]).cpu().numpy(), head(unseen).cpu().numpy()
            y = train.score[rows].numpy()
            psi = ridge(z, y, choose_ridge(z, y, z_validation, validation.score.numpy()))
            head.psi.weight.copy_(torch.from_numpy(psi)[None])
        reward, on_train = self.model.read(unseen)[0].cpu(), self.model.read(known)[0].cpu()
        losses = [float(F.mse_loss(r, s.score)) for r, s in ((on_train, train), (reward, validation))]
        return [self._row(0, losses[0], losses[1], reward)]

    def _backbone(self, split: _Split, rows: Any) -> Tensor:
        """Features of some rows, the similarity to words included, on the model's device."""
        if id(split) in self.cached:
            features = self.cached[id(split)][rows].to(self.model.device)
        else:
            data, model = split.data, self.model
            alike = data.candidates.batches([data.candidate_ids[row] for row in rows], len(rows))
            found = [model.backbone(*to_tensors(*data.load(rows[places]), model.device)) for places in alike]
            features = torch.cat(found)[np.argsort(np.concatenate(alike))].float()
        return self._joined(split, features, rows)

    def _joined(self, split: _Split, features: Tensor, rows: Any) -> Tensor:
        """Features of the backbone with the similarity to words, where that is one."""
        if not self.similar:
            return features
        return torch.cat([features, self.similar[id(split)][rows].to(features.device)], 1)

    @torch.no_grad()
    def _rewards(self, split: _Split) -> Tensor:
        """Rewards of a split in its own order."""
        size = max(self.config.score_batch, 1)
        starts = range(0, len(split.score), size)
        rows = [np.arange(start, min(start + size, len(split.score))) for start in starts]
        return torch.cat([self.model.read(self._backbone(split, part))[0].cpu() for part in rows])

    def descend(self) -> list[dict[str, float]]:
        """AdamW on the configured objective with a cosine schedule; the best epoch is kept."""
        model, config, train = self.model, self.config, self.train
        if not (config.backbone.kind == "clip" and model.backbone.trainable):  # as published: CLIP's own scale
            features = self.cached.get(id(train))
            if features is None:
                features = self._features(train, "reward features (first)")
            features = self._joined(train, features, slice(None))
            for head in model.heads:
                standardise(head, features, model.scaled)
        objective = _Objective(config, train.score, train.group)
        parameters = [p for module in (model, objective) for p in module.parameters() if p.requires_grad]
        draws = [self._draws(number) for number in range(config.ensemble)]
        drawn = np.flatnonzero(np.sum(draws, 0))
        optimizer = torch.optim.AdamW(parameters, lr=config.lr, weight_decay=config.weight_decay)
        steps = config.epochs * -(-len(drawn) // config.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        history: list[dict[str, float]] = []
        best, best_loss = copy.deepcopy(model.state_dict()), float("inf")
        with Progress("train reward", config.epochs) as progress:
            for epoch in range(config.epochs):
                rng = np.random.default_rng(derive_seed("reward", config.seed, epoch))
                model.train()
                losses = []
                order = rng.permutation(drawn)
                for start in range(0, len(order), config.batch):
                    loss = self._loss(order[start : start + config.batch], draws, objective)
                    optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(parameters, 1.0)
                    optimizer.step()
                    schedule.step()
                    losses.append(float(loss.detach()))
                model.eval()
                reward, split = self._rewards(self.validation), self.validation
                with torch.no_grad():
                    validation_loss = float(objective(reward, split.score, split.group))
                history.append(self._row(epoch, float(np.mean(losses)), validation_loss, reward))
                progress.step(loss=history[-1]["train_loss"], validation=validation_loss)
                if validation_loss < best_loss:
                    best, best_loss = copy.deepcopy(model.state_dict()), validation_loss
        model.load_state_dict(best)
        unit = objective.unit(self._rewards(train), train.score, train.group)
        with torch.no_grad():
            for head in model.heads:
                head.psi.weight.mul_(unit)
        return history

    def _loss(self, prompts: np.ndarray, draws: list[np.ndarray], objective: _Objective) -> Tensor:
        """Mean loss of the heads, each on its own draw of some prompts; one pass of the backbone for all."""
        once = np.concatenate([self.train.groups[number] for number in prompts])
        features = self._backbone(self.train, once)
        place = {row: index for index, row in enumerate(once.tolist())}
        losses = []
        for head, drawn in zip(self.model.heads, draws, strict=True):
            rows, group = self._rows(prompts, drawn)
            if len(rows):
                z = head(features[[place[row] for row in rows.tolist()]])
                losses.append(objective(head.psi(z)[:, 0].cpu(), self.train.score[rows], group))
        return torch.stack(losses).mean()
