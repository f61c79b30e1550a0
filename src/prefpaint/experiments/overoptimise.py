"""Does trust help where a reward is over-optimised? Its gain (proxy) against the truth's (gold).

Gao, Schulman, Hilton 2023, "Scaling Laws for Reward Model Overoptimization": a policy is driven far along a learned
reward, and a judge that training never sees says what that is worth. Here the truth is the simulated raters' noiseless
score of held-out prompts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from prefpaint.alignment.job import Job
from prefpaint.alignment.run import align
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.experiments.overoptimise_config import OveroptimiseConfig
from prefpaint.experiments.runs import (
    COLOURS,
    cell,
    each_run,
    interval_columns,
    of_some_prompts,
    once,
    reached,
    trust_in,
)
from prefpaint.inpainting.checkpoint import weights_digest
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.reward.training import RatedImages, train_reward

QUANTITIES = {
    "best_gold": "best gold gain",
    "final_gold": "last gold gain",
    "gold_at_target": "gold gain at equal proxy gain",
}


@dataclass(frozen=True)
class Curve:
    """The looks of one run at held-out prompts; each (L,).

    Attributes:
        iterations: done.
        proxy, gold: mean gains over the base, from the same noise, of the reward that is raised and of the truth.
    """

    iterations: np.ndarray
    proxy: np.ndarray
    gold: np.ndarray

    def numbers(self, target: float) -> dict[str, float]:
        """What a run came to, by the names in `QUANTITIES`; gold_at_target is NaN where proxy did not reach it."""
        return {
            "best_gold": float(self.gold.max()),
            "final_gold": float(self.gold[-1]),
            "gold_at_target": reached(self.proxy, target, self.gold),
        }


def small_reward(job: Job, config: OveroptimiseConfig) -> Job:
    """A job with a reward of few ratings, and trust in that.

    Raises:
        PrefPaintError: too few scores, see `train_reward`.
    """

    def rated(split: str, prompts: int | None = None) -> RatedImages:
        rows = of_some_prompts(job.scores[job.scores["split"] == split], prompts)
        return RatedImages.of(job.candidate_images, job.prompt_masks, rows, text_prompts(job.prompts))

    train, validation = rated("train", config.prompts), rated("validation")
    model, _ = train_reward(train, validation, config.reward)
    trust = trust_in(model, train, validation, config.reward.score_batch, config.bound, job.gamma)
    return replace(job, reward_model=model, trust=trust, reward=config.reward)


def run_once(job: Job, rater: NoiselessRater, workspace: Path, title: str) -> Curve:
    """Align once; what an earlier call finished is reused if it still fits."""

    def make() -> dict[str, Any]:
        watched = align(job, workspace / "align", title).watched
        names = {"iterations": "iteration", "proxy": "reward_gain", "gold": "noiseless_gain"}
        return {name: [look[column] for look in watched] for name, column in names.items()}

    stamp = fingerprint(job.config, job.sampling, weights_digest(job.base), job.inputs(), rater.digest())
    saved = once(workspace / "run.json", stamp, make)
    return Curve(*(np.array(saved[name], np.float64) for name in ("iterations", "proxy", "gold")))


def overoptimise(job: Job, config: OveroptimiseConfig, workspace: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drive every variant from every seed.

    A killed call resumes where it stopped.

    Args:
        job: base, prompts, ratings and raters; its reward, trust and `config` are replaced.
        config: what to run.
        workspace: folder for all runs.

    Returns:
        The tables of `summary` and `curve_table`; the first with informative, whether `bound` finds that the width of
        the small reward carries information.

    Raises:
        PrefPaintError: people rated, so that there is no truth to compare with; or there are too few ratings.
    """
    rater = job.rater
    if rater is None:
        raise PrefPaintError(
            "overoptimise: only simulated raters have a noiseless score, which is the truth here; run it where the "
            "rating store is empty"
        )
    job = small_reward(job, config)
    runs = each_run(job, config, workspace, lambda one, folder, title: run_once(one, rater, folder, title))
    return summary(runs, config).assign(informative=job.trust.informative), curve_table(runs, config.seeds)


def summary(runs: Mapping[str, Sequence[Curve]], config: OveroptimiseConfig) -> pd.DataFrame:
    """What variants came to, over seeds.

    Args:
        runs: by variant, one per seed.
        config: baseline and target. Proxy gains are equal at the target: that share of the baseline's mean last one.

    Returns:
        One row per variant: variant, baseline, seeds, target, reached (how many seeds reached it), final_proxy, and
        for each of `QUANTITIES` its mean and the mean of its paired differences from the baseline (_difference), each
        with _low and _high, the 95 % interval of Student's t over the seeds.
    """
    target = config.target * float(np.mean([run.proxy[-1] for run in runs[config.baseline]]))
    found = {name: pd.DataFrame([run.numbers(target) for run in made]) for name, made in runs.items()}
    rows = []
    for name, made in runs.items():
        row: dict[str, Any] = {"variant": name, "baseline": config.baseline, "seeds": len(made), "target": target}
        row["reached"] = int(found[name]["gold_at_target"].notna().sum())
        row |= interval_columns("final_proxy", np.array([run.proxy[-1] for run in made]))
        for quantity in QUANTITIES:
            values = found[name][quantity].to_numpy()
            row |= interval_columns(quantity, values)
            row |= interval_columns(f"{quantity}_difference", values - found[config.baseline][quantity].to_numpy())
        rows.append(row)
    return pd.DataFrame(rows)


def curve_table(runs: Mapping[str, Sequence[Curve]], seeds: Sequence[int]) -> pd.DataFrame:
    """Every look of every run: variant, seed, iteration, proxy_gain, gold_gain."""
    parts = [
        pd.DataFrame(
            {
                "variant": name,
                "seed": seed,
                "iteration": run.iterations,
                "proxy_gain": run.proxy,
                "gold_gain": run.gold,
            }
        )
        for name, made in runs.items()
        for seed, run in zip(seeds, made, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def overoptimise_markdown(table: pd.DataFrame, prompts: int) -> str:
    """The comparison as a Markdown table.

    Args:
        table: of `overoptimise`.
        prompts: that the reward was fitted to.
    """
    first = table.iloc[0]
    heads = ["trust", "last proxy gain", *QUANTITIES.values()]
    heads += [f"{title}, minus {first['baseline']}" for title in QUANTITIES.values()] + [
        "seeds that reached the target"
    ]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table.to_dict("records"):
        names = ["final_proxy", *QUANTITIES, *(f"{quantity}_difference" for quantity in QUANTITIES)]
        cells = [row["variant"], *(cell(row, name, 1, "{:+.3f}") for name in names)]
        lines.append("| " + " | ".join([*cells, f"{row['reached']} of {row['seeds']}"]) + " |")
    says = "carries information" if first["informative"] else "carries no information, and it is used all the same"
    return (
        f"Proxy: the reward that is raised, fitted to the ratings of {prompts} prompts; gold: the simulated raters' "
        "noiseless score, in points of 0–7. Both are mean gains over the base on the same held-out prompts, from the "
        f"same noise. Means over {first['seeds']} seeds of alignment, of one reward, with 95 % intervals of Student's "
        "t over the seeds; differences are paired by seed. The best gain is the highest of a run's looks, chosen by "
        f"looking at gold, which flatters all alike. Equal proxy gain: {first['target']:.3f}; where not every seed "
        f"reached it, the mean is of those that did. `bound` finds that the width of this reward {says}.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def overoptimise_figure(curves: pd.DataFrame, target: float) -> Figure:
    """Gold over proxy and over iterations: thick the mean of the seeds, thin each of them.

    Args:
        curves: of `curve_table`.
        target: the equal proxy gain.
    """
    figure = Figure(figsize=(12, 4.8), layout="constrained")
    by_proxy, by_iteration = figure.subplots(1, 2, sharey=True)
    # Before the first iteration nothing is gained.
    for number, (name, rows) in enumerate(curves.groupby("variant", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        means = rows.groupby("iteration")[["proxy_gain", "gold_gain"]].mean().reset_index()
        for axes, x in ((by_proxy, "proxy_gain"), (by_iteration, "iteration")):
            for _, run in rows.groupby("seed"):
                axes.plot([0, *run[x]], [0, *run["gold_gain"]], color=colour, linewidth=0.6, alpha=0.35)
            axes.plot([0, *means[x]], [0, *means["gold_gain"]], color=colour, marker=".", linewidth=2, label=str(name))
    by_proxy.axvline(target, color="0.5", linewidth=1, linestyle=":")
    by_proxy.set(title="Gold over proxy; dotted: equal proxy gain", xlabel="gain in the reward that is raised")
    by_iteration.set(title="Gold over iterations", xlabel="iterations")
    by_proxy.set_ylabel("gain in the noiseless score, points of 0–7")
    for axes in (by_proxy, by_iteration):
        axes.axhline(0, color="0.7", linewidth=0.5)
    by_proxy.legend(fontsize=8, frameon=False)
    return figure
