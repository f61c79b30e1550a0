"""From judged samples to the numbers of the comparison: one tidy table, and the same as flat metrics."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.samples import EDGE, FLAWS, METHODS, NOISE_SETS, OUTSIDE, has_chance, original_edge
from prefpaint.stats.bootstrap import (
    Estimate,
    best_of,
    bootstrap_mean,
    order_accuracy,
    sample_variance,
    win_rate_equal,
    win_rate_independent,
    win_rate_later,
)

DIGITS = 6
ALL = "all"
# Judged beside the two scores: what changed in the pictures, and whether trust still holds.
DESCRIPTIVE = (*FLAWS, *EDGE, "hole_spread", "hole_psnr", "hole_ssim", *OUTSIDE, "width")
COLUMNS = ("split", "pattern", "judge", "quantity", "comparison", "best_of", "prompts", "value", "low", "high", "key")

Samples = dict[tuple[str, str], np.ndarray]


@dataclass(frozen=True)
class Judge:
    """A judge that prefers one picture of a prompt to another.

    Attributes:
        name: column of the judged samples.
        sign: 1 where more is better, -1 where less is, as of distances.
        outside: compares single samples only; its values for one method by itself are listed among the descriptions.
    """

    name: str
    sign: int = 1
    outside: bool = False

    def judged(self, evaluation: pd.DataFrame) -> pd.DataFrame:
        """The samples of those prompts of which this judge has a value for every sample, `preference` beside them.

        Args:
            evaluation: of `samples.judge_samples`.

        Returns:
            The same columns plus preference, float64, more is better; no row where there is no such prompt.
        """
        known = evaluation[self.name].notna().groupby(evaluation["prompt_id"]).transform("all")
        return evaluation[known].assign(preference=self.sign * evaluation.loc[known, self.name])

    def sizes(self, best_of: tuple[int, ...]) -> tuple[int, ...]:
        """The S that it judges, of those configured."""
        return (1,) if self.outside else best_of


JUDGES = (Judge("noiseless"), Judge("reward"), *(Judge(name, -1, outside=True) for name in OUTSIDE))


def _samples(evaluation: pd.DataFrame, column: str) -> Samples:
    """(method, noise set) → (P, n), prompts in one order."""
    ordered = evaluation.sort_values(["prompt_id", "sample"])
    prompts = ordered["prompt_id"].nunique()
    return {
        (method, noise_set): ordered.loc[(ordered["method"] == method) & (ordered["noise_set"] == noise_set), column]
        .to_numpy(np.float64)
        .reshape(prompts, -1)
        for method in METHODS
        for noise_set in NOISE_SETS
    }


def win_rates(judged: Samples, chosen_by: Samples, size: int) -> dict[str, np.ndarray]:
    """Win rates per prompt against a single base sample, each (P,).

    Both noise sets serve both models, so that a lucky set favours neither.

    Args:
        judged: the judge's scores.
        chosen_by: the scores by which the best of `size` is chosen.
        size: S.

    Returns:
        independent: aligned against base, other noise; equal: aligned against base, same noise; base_base:
        base against base, other noise: at S = 1 near one half, else what mere choice among S gains.
    """
    best = {key: best_of(judged[key], chosen_by[key], size) for key in judged}
    crossed = list(zip(NOISE_SETS, reversed(NOISE_SETS), strict=True))

    def against_base(method: str) -> np.ndarray:
        rates = [win_rate_independent(best[method, ours], judged["base", theirs]) for ours, theirs in crossed]
        return np.mean(rates, axis=0)

    return {
        "independent": against_base("aligned"),
        "equal": np.mean([win_rate_equal(best["aligned", each], judged["base", each]) for each in NOISE_SETS], axis=0),
        # Single samples of one model, compared in both directions, would give one half whatever they are.
        "base_base": against_base("base")
        if size > 1
        else win_rate_later(np.concatenate([judged["base", each] for each in NOISE_SETS], 1)),
    }


def _compare(evaluation: pd.DataFrame, config: EvaluateConfig, brief: bool) -> list[dict[str, object]]:
    """Rows for one set of prompts; `brief` keeps what a small set can bear."""
    seed = derive_seed("bootstrap", config.seed)
    rows: list[dict[str, object]] = []

    def add(judge: str, quantity: str, comparison: str, per_prompt: np.ndarray, size: int | None = None) -> None:
        estimate: Estimate = bootstrap_mean(per_prompt, config.resamples, seed)
        rows.append(
            {
                "judge": judge,
                "quantity": quantity,
                "comparison": comparison,
                "best_of": size,
                "prompts": estimate.prompts,
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
        )

    for judge in JUDGES:
        part = judge.judged(evaluation)
        if part.empty:
            continue
        judged, reward = _samples(part, "preference"), _samples(part, "reward")
        pooled = {method: np.concatenate([judged[method, each] for each in NOISE_SETS], 1) for method in METHODS}
        for size in judge.sizes(config.best_of):
            for comparison, per_prompt in win_rates(judged, reward, size).items():
                if not brief or (size == 1 and comparison == "independent"):
                    add(judge.name, "win_rate", comparison, per_prompt, size)
        if judge.outside:
            continue
        change = pooled["aligned"].mean(1) - pooled["base"].mean(1)
        add(judge.name, "difference", "aligned_base", change)
        if brief:
            continue
        add(judge.name, "share_better", "aligned_base", (change > 0).astype(np.float64))
        add(judge.name, "share_worse", "aligned_base", (change < 0).astype(np.float64))
        for method in METHODS:
            add(judge.name, "mean", method, pooled[method].mean(1))
            add(judge.name, "variance", method, sample_variance(pooled[method]))
            if judge.name == "noiseless":
                chosen = np.concatenate([reward[method, each] for each in NOISE_SETS], 1)
                add("reward", "order_accuracy", method, order_accuracy(chosen, pooled[method]))
    for column in () if brief else DESCRIPTIVE:
        values = {
            method: evaluation[evaluation["method"] == method].groupby("prompt_id")[column].mean() for method in METHODS
        }
        if np.isfinite(values["base"]).any():
            for method in METHODS:
                add(column, "mean", method, values[method].to_numpy())
            add(column, "difference", "aligned_base", (values["aligned"] - values["base"]).to_numpy())
    return rows


def check_samples(evaluation: pd.DataFrame, config: EvaluateConfig) -> None:
    """Raise `PrefPaintError` if the judged samples are not those of the configuration."""
    again = "run `kedro run --pipeline=evaluate` again"
    for name in (*(judge.name for judge in JUDGES), *EDGE, *map(original_edge, EDGE)):
        if name not in evaluation:
            raise PrefPaintError(f"evaluation: has no column {name}; an earlier version judged it, so {again}")
    for split in config.splits:
        if not (evaluation["split"] == split).any():
            raise PrefPaintError(f"evaluate.splits: names {split}, but none of its samples is judged; {again}")
    counts = evaluation.groupby(["method", "prompt_id", "noise_set"]).size().groupby("method").min()
    for name in (*METHODS, *config.methods):
        if name not in counts:
            raise PrefPaintError(f"evaluate.methods: names {name}, but none of its samples is judged; {again}")
        if has_chance(name, config) and counts[name] < config.samples:
            raise PrefPaintError(
                f"evaluate.best_of: needs the best of {config.samples}, but {name} has {counts[name]} samples per "
                f"prompt and noise set; {again}"
            )


def measure(evaluation: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """Everything that is reported about base and aligned model.

    Args:
        evaluation: of `samples.judge_samples`.
        config: S, bootstrap, splits.

    Returns:
        One row per number: split; pattern ("all" or one); judge (noiseless and reward for scores, stlpips_alex and
        stlpips_vgg for who is closer to the original, else the column that is averaged); quantity (win_rate, mean,
        difference, share_better and share_worse of the prompts, variance between samples, order_accuracy of the reward
        within prompts); comparison; best_of (win rates only); prompts, those that the judge knows; value with its 95 %
        interval low, high; key, the name of the value among the flat metrics. Judge noiseless exists only with
        simulated raters. The two outside judges win where the distance is smaller, only at S = 1; their mean and
        difference are distances.

    Raises:
        PrefPaintError: see `check_samples`.
    """
    check_samples(evaluation, config)
    rows = []
    for split in config.splits:
        of_split = evaluation[evaluation["split"] == split]
        patterns = sorted(of_split["pattern"].unique())
        sets = [(ALL, of_split)] + [(pattern, of_split[of_split["pattern"] == pattern]) for pattern in patterns]
        for pattern, part in sets:
            rows += [{"split": split, "pattern": pattern, **row} for row in _compare(part, config, pattern != ALL)]
    for row in rows:
        row["key"] = _key(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"best_of": "Int64"})


def _key(row: Mapping[str, Any]) -> str:
    parts = [row["split"], *([] if row["pattern"] == ALL else [row["pattern"]]), row["judge"], row["quantity"]]
    parts += [] if row["comparison"] == "aligned_base" else [row["comparison"]]
    return "_".join([*parts, *([] if row["best_of"] is None else [f"s{row['best_of']}"])])


def truest_judge(table: pd.DataFrame) -> str:
    """The truest judge in a tidy table: the noiseless score where raters are simulated, else the learned reward."""
    return "noiseless" if (table["judge"] == "noiseless").any() else "reward"


def keyed_values(table: pd.DataFrame) -> dict[str, float | int]:
    """Values and intervals of a tidy table by its keys, ..._low, ..._high; what does not exist is skipped."""
    return {
        row.key + end: round(float(number), DIGITS)
        for row in table.itertuples()
        for end, number in (("", row.value), ("_low", row.low), ("_high", row.high))
        if math.isfinite(number)
    }


def outside_prompts(table: pd.DataFrame) -> dict[str, float | int]:
    """How many prompts the outside judges compared, by {split}_{judge}_prompts; {split}_{pattern}_... of a pattern."""
    rates = table[table["judge"].isin(OUTSIDE) & (table["quantity"] == "win_rate")]
    counts = rates.groupby(["split", "pattern", "judge"])["prompts"].max()
    return {
        "_".join([split, *([] if pattern == ALL else [pattern]), judge, "prompts"]): int(count)
        for (split, pattern, judge), count in counts.items()
    }


def flat_metrics(table: pd.DataFrame) -> dict[str, float | int]:
    """The table as flat metrics, e.g. seen_noiseless_win_rate_independent_s1, ..._low, ..._high.

    Numbers of one pattern carry its name after the split; {split}_prompts counts prompts, {split}_stlpips_alex_prompts
    those whose original is known to an outside judge.
    """
    metrics = keyed_values(table) | outside_prompts(table)
    counts = table[(table["judge"] == "reward") & (table["quantity"] == "difference")]
    for row in counts.itertuples():
        metrics[f"{row.split}_prompts" if row.pattern == ALL else f"{row.split}_{row.pattern}_prompts"] = int(
            row.prompts
        )
    return metrics
