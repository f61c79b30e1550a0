"""Choosing among fills of one prompt by the reward: how much better the chosen one is, and how far to believe that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from prefpaint.errors import PrefPaintError
from prefpaint.stats.bootstrap import Estimate, bootstrap_mean, share_won
from prefpaint.trust.calibration import conformal_half_width, truths

RESAMPLES = 1000
DECIMALS = 6


@dataclass(frozen=True)
class Interval:
    """A number and what it lies between."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Chosen:
    """The fill with the highest reward among the first n of each of P prompts.

    Attributes:
        reward, score: (P,) of that fill.
        reward_gain, score_gain: (P,) by how much it exceeds the mean of the n.
    """

    reward: np.ndarray
    score: np.ndarray
    reward_gain: np.ndarray
    score_gain: np.ndarray

    @classmethod
    def of(cls, reward: np.ndarray, score: np.ndarray, prompt_ids: Sequence[str], fills: int) -> "Chosen":
        """Choose in every prompt with at least so many fills.

        Args:
            reward, score: (N,) of all fills.
            prompt_ids: N ids.
            fills: n.
        """
        rows = pd.Series(np.arange(len(reward))).groupby(np.asarray(prompt_ids)).agg(list)
        picked = np.array([each[:fills] for each in rows if len(each) >= fills], int).reshape(-1, fills)
        of_prompt = np.arange(len(picked)), reward[picked].argmax(1)
        return cls(
            reward[picked][of_prompt],
            score[picked][of_prompt],
            reward[picked][of_prompt] - reward[picked].mean(1),
            score[picked][of_prompt] - score[picked].mean(1),
        )


class ChoiceErrors(BaseModel):
    """How wrong the reward was about the fill that it prefers, on validation prompts; ready for JSON.

    The intervals are split-conformal, from exactly what is done later: of n fills the one with the highest reward is
    taken, and a prompt counts once, so that prompts and not fills must be exchangeable with what comes. Where more
    fills are chosen from than were rated, errors are those of the largest n.

    Attributes:
        level: nominal coverage of intervals.
        reward: element n - 1: |reward − score| of the best by the reward of n, ascending, one per prompt.
        gain: element n - 1: |reward's gain − score's gain| of it, the gain being over the mean of the n.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: float
    reward: tuple[tuple[float, ...], ...]
    gain: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, reward: np.ndarray, score: np.ndarray, prompt_ids: Sequence[str], level: float) -> "ChoiceErrors":
        """Errors on data that the reward was not fitted to; n goes up to what half of the prompts have.

        Args:
            reward, score: (N,) of rated fills.
            prompt_ids: N ids.
            level: in (0, 1).
        """
        most = int(np.median(pd.Series(list(prompt_ids)).value_counts()))
        chosen = [Chosen.of(reward, score, prompt_ids, fills) for fills in range(1, most + 1)]
        return cls(
            level=level,
            reward=tuple(_sorted(np.abs(one.reward - one.score)) for one in chosen),
            gain=tuple(_sorted(np.abs(one.reward_gain - one.score_gain)) for one in chosen),
        )

    @property
    def fills(self) -> int:
        """The largest n."""
        return len(self.gain)

    def half_widths(self, samples: int, level: float | None = None) -> tuple[float, float]:
        """Half-widths of the intervals of the reward and of the gain of the best of some fills.

        Args:
            samples: how many fills.
            level: nominal coverage; None: `self.level`.

        Returns:
            Infinity where too few prompts were rated for the level, and for the gain where none had two rated fills.
        """
        level, n = self.level if level is None else level, min(samples, self.fills)
        reward = conformal_half_width(np.asarray(self.reward[n - 1]), level)
        unknown = n == 1 and samples > 1
        return reward, math.inf if unknown else conformal_half_width(np.asarray(self.gain[n - 1]), level)


def _sorted(errors: np.ndarray) -> tuple[float, ...]:
    return tuple(np.sort(errors).round(DECIMALS).tolist())


def read_choice_errors(given: Any) -> ChoiceErrors:
    """What the `bound` stage wrote, from JSON.

    Raises:
        PrefPaintError: it is something else.
    """
    try:
        found = ChoiceErrors.model_validate(given)
    except ValueError as error:
        raise PrefPaintError(
            "choice_errors.json: is not a file of this program; run `kedro run --pipeline=bound`"
        ) from error
    if not found.gain or len(found.gain) != len(found.reward):
        raise PrefPaintError("choice_errors.json: holds no errors; run `kedro run --pipeline=bound`")
    return found


def choice_metrics(table: pd.DataFrame, errors: ChoiceErrors, seed: int) -> dict[str, Any]:
    """Whether choosing by the reward helps on test prompts, and whether its intervals keep their promise.

    Args:
        table: of `calibration.trust_table`.
        errors: from the validation prompts.
        seed: of the bootstrap draws.

    Returns:
        Flat; empty without test prompts that have two fills. `test_gain_*`: by how much the chosen fill's score exceeds
        the mean of its prompt's; `test_gain_share_better_*`: how often it does.
    """
    test, fills = table[table["split"] == "test"], errors.fills
    half_reward, half_gain = errors.half_widths(fills)
    metrics: dict[str, float] = {"choice_fills": fills, "choice_half_width": half_reward, "gain_half_width": half_gain}
    for name, truth in truths(test).items():
        chosen = Chosen.of(test["reward"].to_numpy(np.float64), truth, test["prompt_id"].tolist(), fills)
        if fills < 2 or not len(chosen.reward):
            return {}
        better = share_won(chosen.score_gain[:, None], np.zeros((1, 1)))
        metrics |= _estimate(f"test_gain_{name}", bootstrap_mean(chosen.score_gain, RESAMPLES, seed))
        metrics |= _estimate(f"test_gain_share_better_{name}", bootstrap_mean(better, RESAMPLES, seed))
        metrics["test_gain_reward"] = float(chosen.reward_gain.mean())
        if math.isfinite(half_reward):
            inside = np.abs(chosen.reward - chosen.score) <= half_reward
            metrics[f"test_choice_coverage_{name}"] = float(inside.mean())
        if math.isfinite(half_gain):
            inside = np.abs(chosen.reward_gain - chosen.score_gain) <= half_gain
            metrics[f"test_gain_coverage_{name}"] = float(inside.mean())
            metrics["test_gain_sure"] = float((chosen.reward_gain > half_gain).mean())
    return {
        name: value if isinstance(value, int) else round(value, DECIMALS)
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def _estimate(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
