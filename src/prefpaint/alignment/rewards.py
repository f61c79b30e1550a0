"""Several rewards at once: learned, other people's models, the hole's edge, functions, servers; by name and weight.

Each process scores its own samples; they are combined once all are gathered, because spreads are over all of them.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.http_reward import HTTPScorer
from prefpaint.alignment.objectives import SMALLEST_SPREAD
from prefpaint.alignment.rewards_config import (
    AestheticReward,
    BoundaryReward,
    CLIPReward,
    HPSReward,
    HTTPReward,
    ImageRewardReward,
    LearnedReward,
    PythonReward,
    RewardKind,
)
from prefpaint.alignment.scorers import PlainReward, Scores, TrustedReward
from prefpaint.errors import PrefPaintError
from prefpaint.files import files_digest
from prefpaint.fills.boundary import boundary
from prefpaint.judges.outside_models import TextJudge, aesthetic_judge, clip_judge, imagereward_judge

# Images (N, H, W, 3) and masks (N, H, W), both uint8, and N words, "" for none, → (N,) float64; NaN where a picture has
# no score.
Reward = Callable[[np.ndarray, np.ndarray, Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class WeightedRewards:
    """Named rewards as one scorer. Its `reward` is their weighted sum, each in its own units.

    Width and γ are those of the learned reward; without it, NaN and 1.

    Attributes:
        rewards: by name.
        weights: of each.
    """

    rewards: Mapping[str, Reward | PlainReward | TrustedReward]
    weights: Mapping[str, float]

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        width, gamma = np.full(len(images), np.nan), np.ones(len(images))
        texts = texts or [""] * len(images)
        parts: dict[str, np.ndarray] = {}
        for name, reward in self.rewards.items():
            if isinstance(reward, PlainReward | TrustedReward):
                scores = reward(images, masks, texts)
                parts[name], width, gamma = scores.reward, scores.width, scores.gamma
            else:
                parts[name] = reward(images, masks, texts)
        return Scores(weighted_sum(parts, self.weights), width, gamma, parts)


def weighted_sum(values: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
    """Σ weight · value over the names that have a weight, each value in its own units.

    Args:
        values: (N,) by name.
        weights: by name.

    Returns:
        (N,) float64; NaN where one value is.
    """
    return np.sum([weight * np.asarray(values[name], np.float64) for name, weight in weights.items()], axis=0)


def sum_of_spreads(rewards: Tensor, weights: Tensor, within_prompts: bool) -> Tensor:
    """The weighted sum of rewards, each centred and divided by its own spread, so that weights compare.

    The spread is the one that the advantage has: about the mean of a sample's prompt, or of all samples. A single
    reward is left in its own units. Rewards that differ by less than `SMALLEST_SPREAD` count as equal.

    Args:
        rewards: (R, P, K), R rewards of K samples of P prompts; NaN marks a sample to skip.
        weights: (R,).
        within_prompts: which spread.

    Returns:
        (P, K).
    """
    weight = weights[:, None, None]
    if len(rewards) == 1:
        return (weight * rewards).sum(0)
    centred = rewards - rewards.nanmean(dim=2 if within_prompts else (1, 2), keepdim=True)
    spread = centred.square().nanmean(dim=(1, 2), keepdim=True).sqrt()
    return (weight * centred / spread.clamp(min=SMALLEST_SPREAD)).sum(0)


def mean_of_ranks(rewards: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of a sample's ranks within its prompt, each from 0 (least) to 1 (most); ties share the mean.

    Args:
        rewards: (R, P, K); NaN marks a sample to skip, for all rewards alike.
        weights: (R,); the mean is divided by the sum of their sizes.

    Returns:
        (P, K) in [−1, 1].
    """
    ranks = torch.from_numpy(np.asarray(rankdata(rewards.numpy(), axis=2, nan_policy="omit")))
    others = (~rewards.isnan()).sum(dim=2, keepdim=True) - 1
    # A sample without another of its prompt is neither better nor worse.
    scaled = torch.where(others > 0, (ranks - 1) / others.clamp(min=1), 0.5 * ranks)
    return (weights[:, None, None] * scaled).sum(0) / weights.abs().sum()


def combine(parts: Mapping[str, Tensor], config: AlignConfig) -> Tensor:
    """What advantages are made of, from every sample's rewards.

    Args:
        parts: (P, K) by name, all P prompts; a sample without one of them, NaN or infinite, is skipped.
        config: weights, and how.

    Returns:
        (P, K) float64, NaN for skipped samples. Only differences between samples have a meaning.
    """
    rewards = torch.stack(list(parts.values()))
    rewards = torch.where(rewards.isfinite().all(0), rewards, float("nan"))
    weights = torch.tensor([config.rewards[name].weight for name in parts], dtype=torch.float64)
    if config.combine == "rank":
        return mean_of_ranks(rewards, weights)
    return sum_of_spreads(rewards, weights, config.advantage == "group")


def gather_parts(parts: Mapping[str, np.ndarray], candidates: int) -> dict[str, Tensor]:
    """Rewards of all processes' samples, (P, K) float64 by name, from this process's (n,)."""
    everyones = distributed.gather(dict(parts))
    joined = {name: np.concatenate([each[name] for each in everyones]) for name in parts}
    return {
        name: torch.from_numpy(values.astype(np.float64)).reshape(-1, candidates) for name, values in joined.items()
    }


def make_rewards(config: AlignConfig, learned: Callable[[], PlainReward | TrustedReward]) -> WeightedRewards:
    """The rewards of a configuration, loaded.

    Args:
        config: names them.
        learned: makes the learned reward; called if it is among them.

    Raises:
        PrefPaintError: a checkpoint or a function cannot be used.
    """
    # In an order of their own, so that sums are the same however they are listed.
    made = {name: _load(_key(name), reward, learned) for name, reward in sorted(config.rewards.items())}
    return WeightedRewards(made, {name: config.rewards[name].weight for name in made})


def _key(name: str) -> str:
    return f"align.rewards.{name}"


def _load(
    key: str, reward: RewardKind, learned: Callable[[], PlainReward | TrustedReward]
) -> Reward | PlainReward | TrustedReward:
    match reward:
        case LearnedReward():
            return learned()
        case CLIPReward() | HPSReward():
            return _in_batches(key, _with_text(clip_judge(key, reward.checkpoint), reward.text), reward.batch)
        case AestheticReward():
            return _in_batches(key, _of_images(aesthetic_judge(key, reward.checkpoint)), reward.batch)
        case ImageRewardReward():
            return _in_batches(key, _with_text(imagereward_judge(key, reward.checkpoint), reward.text), reward.batch)
        case BoundaryReward():
            return _in_batches(key, _at_the_edge(reward), reward.batch)
        case PythonReward():
            return _in_batches(key, _with_texts_or_not(function_of(key, reward.function)), reward.batch)
        case HTTPReward():
            return _in_batches(key, HTTPScorer(key, reward.url, reward.timeout, reward.retries), reward.batch)


def _of_images(judge: Callable[[np.ndarray], np.ndarray]) -> Reward:
    return lambda images, masks, texts: judge(images)


def _with_text(judge: TextJudge, text: str) -> Reward:
    """A judge of pictures and their words; `text` where there are none."""
    return lambda images, masks, texts: judge(images, [own or text for own in texts])


def _at_the_edge(reward: BoundaryReward) -> Reward:
    """Minus seam and colour step, at most 0; 0 for a hole that has no edge, so that other rewards still count there."""

    def score(images: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        seen = boundary(images, masks, distributed.device())
        # Below the steps beside it an edge is blurred; nothing is gained by that.
        flaws = reward.seam * np.maximum(seen.log_ratio, 0) + reward.colour_step * seen.colour_step
        return np.where(np.isnan(flaws), 0.0, -flaws)

    return score


def _with_texts_or_not(function: Callable[..., Any]) -> Callable[..., Any]:
    """A user's function of images and masks, and of texts if it has an argument of that name."""
    try:
        reads = "texts" in inspect.signature(function).parameters
    except ValueError:  # It does not say what it takes.
        reads = False
    if reads:
        return lambda images, masks, texts: function(images, masks, texts=texts)
    return lambda images, masks, texts: function(images, masks)


def function_of(key: str, function: str) -> Callable[..., Any]:
    """A function by `module:function`.

    Raises:
        PrefPaintError: there is no such module, or it has no such function.
    """
    place, _, name = function.partition(":")
    found = getattr(_module(key, place), name, None)
    if not callable(found):
        raise PrefPaintError(f"{key}: module {place} has no function {name}; give module:function")
    return found


def _module(key: str, place: str) -> ModuleType:
    try:
        return import_module(place)
    except ImportError as error:
        raise PrefPaintError(
            f"{key}: module {place} cannot be imported ({error}); install it, or put it into the project's src folder"
        ) from error


def _in_batches(key: str, score: Callable[[np.ndarray, np.ndarray, Sequence[str]], Any], size: int) -> Reward:
    """Some pictures at a time, on copies of them, and what comes back is checked."""

    def reward(images: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        parts = []
        for start in range(0, len(images), size):
            some = slice(start, start + size)
            count = len(images[some])
            parts.append(_checked(key, score(images[some].copy(), masks[some].copy(), list(texts[some])), count))
        return np.concatenate(parts)

    return reward


def _checked(key: str, given: Any, count: int) -> np.ndarray:
    """One number for each picture, finite or NaN; (count,) float64."""
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise PrefPaintError(
            f"{key}: gave {type(given).__name__} ({error}); it must give one number for each picture"
        ) from error
    if values.shape != (count,):
        raise PrefPaintError(
            f"{key}: gave shape {values.shape} for {count} picture(s); it must give one number for each"
        )
    if np.isinf(values).any():
        raise PrefPaintError(f"{key}: gave an infinite number; give finite ones, or NaN for a picture to be skipped")
    return values


def digests(config: AlignConfig) -> dict[str, str]:
    """What local checkpoints and functions are, by the reward's name: SHA-256 of the files behind them.

    Models of a hub and servers are known by name only.

    Raises:
        PrefPaintError: the module of a function cannot be imported.
    """
    found = {}
    for name, reward in config.rewards.items():
        if isinstance(reward, PythonReward):
            source = inspect.getsourcefile(_module(_key(name), reward.function.partition(":")[0]))
            files = [Path(source)] if source else []
        elif isinstance(reward, LearnedReward | BoundaryReward | HTTPReward):
            continue
        else:
            files = sorted(file for file in Path(reward.checkpoint).glob("*") if file.is_file())
        if files:
            found[name] = files_digest(files)
    return found
