"""Alignments of several variants from several seeds: running them once, and numbers over seeds."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.stats import t as student

from prefpaint.alignment.job import Job
from prefpaint.experiments.runs_config import VariantsConfig
from prefpaint.files import kept_json, whole_file
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages
from prefpaint.trust.calibration import judge
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust

COLOURS = ("#8a8a8a", "#2f6db3", "#d9772b", "#4a9a5b", "#a05195", "#7a5c3e", "#d45087", "#44a3a3")

T = TypeVar("T")


def each_run(
    job: Job, config: VariantsConfig, workspace: Path, run: Callable[[Job, Path, str], T]
) -> dict[str, list[T]]:
    """What every variant comes to from every seed, by variant.

    Args:
        job: what to start from; its `config` is replaced, and variants' `gamma` overrides its own.
        config: what to run.
        workspace: folder for all runs.
        run: does one, given its job, a folder of its own and a title.
    """
    return {
        name: [
            run(
                replace(job, config=config.config(name, seed), gamma=config.gamma(name, job.gamma)),
                workspace / f"{name.replace(' ', '_')}_{seed}",
                f"{name}, seed {seed}",
            )
            for seed in config.seeds
        ]
        for name in config.variants
    }


def once(done: Path, stamp: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What an earlier call left in a file if it still fits; else it is made and written.

    Args:
        done: JSON file.
        stamp: of everything that the result depends on.
        make: gives the result, which JSON must be able to hold.
    """
    saved = kept_json(done, "stamp")
    if saved.get("stamp") == stamp:
        return saved
    made = {"stamp": stamp, **make()}
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps(made))
    return made


def reached(gains: np.ndarray, target: float, values: np.ndarray) -> float:
    """Value at which the gain was the target, between looks by a straight line.

    Args:
        gains: (L,), one per look; before the first nothing is gained.
        target: above 0.
        values: (L,), what else was there at each look, 0 before the first.

    Returns:
        NaN when it was not reached.
    """
    above = np.flatnonzero(gains >= target)
    if not len(above):
        return float("nan")
    gains, values = (np.concatenate([[0.0], given]) for given in (gains, values))
    after = int(above[0]) + 1
    share = (target - gains[after - 1]) / (gains[after] - gains[after - 1])
    return float(values[after - 1] + share * (values[after] - values[after - 1]))


def mean_of_seeds(values: np.ndarray) -> tuple[float, float, float]:
    """Mean and 95 % interval of Student's t over the seeds that have a value.

    Args:
        values: (S,), NaN where a seed has none.

    Returns:
        Mean, low, high; NaN where there are too few values.
    """
    present = values[np.isfinite(values)]
    if len(present) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(present.mean())
    if len(present) == 1:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.975, len(present) - 1) * present.std(ddof=1) / len(present) ** 0.5)
    return mean, mean - half, mean + half


def interval_columns(name: str, values: np.ndarray) -> dict[str, float]:
    """`mean_of_seeds` as columns NAME, NAME_low and NAME_high."""
    return dict(zip((name, f"{name}_low", f"{name}_high"), mean_of_seeds(values), strict=True))


def cell(row: dict[str, Any], name: str, scale: float, form: str, unit: str = "", missing: str = "not reached") -> str:
    """A number of a Markdown table with its interval, from the columns of `interval_columns`."""
    value, low, high = (row[f"{name}{end}"] * scale for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return missing
    interval = f" [{form.format(low)}, {form.format(high)}]" if np.isfinite(low) else ""
    return f"{form.format(value)}{unit}{interval}"


def of_some_prompts(rows: pd.DataFrame, prompts: int | None) -> pd.DataFrame:
    """The rows of some prompts, evenly spaced in their order of appearance; None, or more than there are, for all.

    Args:
        rows: prompt_id and whatever else.
        prompts: how many.
    """
    ids = rows["prompt_id"].unique()
    if prompts is None or prompts >= len(ids):
        return rows
    return rows[rows["prompt_id"].isin(ids[np.linspace(0, len(ids) - 1, prompts).round().astype(int)])]


def trust_in(
    model: RewardModel, train: RatedImages, validation: RatedImages, batch: int, bound: BoundConfig, gamma: GammaConfig
) -> Trust:
    """Trust in a reward model, judged on validation.

    The raters' noise enters only the bound, never a width, so it is not looked up.

    Args:
        model: rewards and embeds.
        train: what it was fitted to.
        validation: other rated candidates.
        batch: images scored at a time.
        bound, gamma: configurations.
    """

    def embedded(data: RatedImages) -> Embedded:
        rewards, z = data.scored(model, batch)
        return Embedded(z, rewards, data.scores, data.prompt_ids)

    known, unseen = embedded(train), embedded(validation)
    members = model.member_psis().double().numpy() if len(model.heads) > 1 else None
    trust = fit_trust(known, unseen, bound, whole_norm=model.whole_norm, members=members)
    return judge(trust, unseen, gamma, bound)
