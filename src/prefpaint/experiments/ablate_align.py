"""Ways of aligning side by side: without trust, with constant factors, with trust, as published, without sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from prefpaint.alignment.job import Job
from prefpaint.alignment.run import align
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.experiments.ablate_align_config import AblateAlignConfig
from prefpaint.experiments.runs import COLOURS, cell, each_run, interval_columns, once, reached
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.stats.bootstrap import share_won

NOISES = 2


@dataclass(frozen=True)
class Run:
    """What one alignment came to.

    Attributes:
        iterations, evaluations, gains: per look at held-out prompts: iterations and network evaluations done, gain in
            reward over the base.
        judged: by split, (P, 2), the judge's scores of two samples of each prompt.
    """

    iterations: np.ndarray
    evaluations: np.ndarray
    gains: np.ndarray
    judged: dict[str, np.ndarray]

    def reach(self, target: float) -> tuple[float, float]:
        """Iterations and network evaluations at which the gain was the target; NaN twice when it was not reached."""
        return reached(self.gains, target, self.iterations), reached(self.gains, target, self.evaluations)


class _Judge:
    """Samples evaluation prompts with some network and judges them."""

    def __init__(self, job: Job, config: AblateAlignConfig) -> None:
        self.job, self.config = job, config
        self.inpainter = Inpainter(job.base, job.sampling)
        self.ids = {
            split: job.prompts.loc[job.prompts["split"] == split, "prompt_id"].tolist()[: config.prompts]
            for split in config.splits
        }
        for split, ids in self.ids.items():
            if len(ids) < 2:
                raise PrefPaintError(f"prompts: fewer than two in split {split}; set masks.prompts.{split}")
        job.reward_model.to(self.inpainter.device)

    def __call__(self, network: Any) -> dict[str, np.ndarray]:
        """By split, (P, 2)."""
        found: dict[str, np.ndarray] = {}
        for split, ids in self.ids.items():
            rows = [(prompt, noise) for prompt in ids for noise in range(NOISES)]
            scores: list[float] = []
            size = self.job.sampling.batch
            for start in range(0, len(rows), size):
                some = rows[start : start + size]
                images = self.job.prompt_images.stack(prompt for prompt, _ in some)
                masks = self.job.prompt_masks.stack(prompt for prompt, _ in some)
                seeds = [derive_seed("ablate_align", prompt, noise) for prompt, noise in some]
                scores += self._score(self.inpainter.rollout(images, masks, seeds, network).images, masks).tolist()
            found[split] = np.array(scores).reshape(-1, NOISES)
        return found

    def _score(self, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        if self.job.rater is not None:
            return self.job.rater.score(images, masks)
        return self.job.reward_model.score(images, masks, self.job.reward.score_batch)[0]


def run_variant(job: Job, judge: _Judge, workspace: Path, title: str) -> Run:
    """Align once and judge; what an earlier call finished is reused if it still fits."""
    stamp = fingerprint(job.config, job.sampling, job.inputs(), judge.ids, job.rater.digest() if job.rater else None)

    def make() -> dict[str, Any]:
        result = align(job, workspace / "align", title)
        evaluations = [row["network_evaluations"] for row in result.history]
        network = result.network.to(judge.inpainter.device, judge.inpainter.dtype)
        return {
            "iterations": [row["iteration"] for row in result.watched],
            "evaluations": [evaluations[int(row["iteration"]) - 1] for row in result.watched],
            "gains": [row["reward_gain"] for row in result.watched],
            "judged": {split: scores.tolist() for split, scores in judge(network).items()},
        }

    saved = once(workspace / "run.json", stamp, make)
    judged = {split: np.array(scores) for split, scores in saved["judged"].items()}
    looks = [np.array(saved[name], np.float64) for name in ("iterations", "evaluations", "gains")]
    return Run(looks[0], looks[1], looks[2], judged)


def compare(job: Job, config: AblateAlignConfig, workspace: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Align every variant from every seed.

    A killed call resumes where it stopped.

    Args:
        job: base, reward, trust and prompts; its `config` is replaced, and variants' `gamma` overrides its own.
        config: what to compare.
        workspace: folder for all runs.

    Returns:
        One row per variant: variant, judge, seeds, reward_gain (held out, at the last look), iterations and
        network_evaluations to the target with _low and _high, the 95 % interval of Student's t over those seeds that
        reached it, reached (how many), and per split SPLIT_win_rate at S = 1 against the base, other noise, with the
        95 % interval of a bootstrap over seeds and prompts together. And the curves: variant, seed, iteration,
        network_evaluations, reward_gain.
    """
    judge = _Judge(job, config)
    base = judge(None)
    runs = each_run(job, config, workspace, lambda one, folder, title: run_variant(one, judge, folder, title))
    target = config.target * float(np.mean([run.gains[-1] for run in runs[config.baseline]]))
    rows, curves = [], []
    for name, made in runs.items():
        costs = np.array([run.reach(target) for run in made])
        row: dict[str, Any] = {
            "variant": name,
            "judge": "reward" if job.rater is None else "noiseless",
            "seeds": len(made),
            "target": target,
            "reached": int(np.isfinite(costs[:, 0]).sum()),
        }
        for quantity, values in (
            ("reward_gain", np.array([run.gains[-1] for run in made])),
            ("iterations", costs[:, 0]),
            ("network_evaluations", costs[:, 1]),
        ):
            row |= interval_columns(quantity, values)
        for split in config.splits:
            won = np.stack([share_won(run.judged[split], base[split][:, ::-1]) for run in made])
            rate = seeds_and_prompts(won, config.resamples, derive_seed("ablate_align", split))
            row |= dict(zip((f"{split}_win_rate{end}" for end in ("", "_low", "_high")), rate, strict=True))
        rows.append(row)
        for seed, run in zip(config.seeds, made, strict=True):
            curves.append(
                pd.DataFrame(
                    {
                        "variant": name,
                        "seed": seed,
                        "iteration": run.iterations,
                        "network_evaluations": run.evaluations,
                        "reward_gain": run.gains,
                    }
                )
            )
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


def seeds_and_prompts(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds and prompts together (Owen 2007, The Pigeonhole Bootstrap).

    Args:
        values: (S, P).
        resamples: bootstrap draws, each of S seeds and P prompts with replacement.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    runs = rng.integers(0, len(values), (resamples, len(values)))
    prompts = rng.integers(0, values.shape[1], (resamples, values.shape[1]))
    means = [values[run][:, prompt].mean() for run, prompt in zip(runs, prompts, strict=True)]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(values.mean()), float(low), float(high)


def ablate_align_markdown(table: pd.DataFrame, splits: Sequence[str]) -> str:
    """The comparison as a Markdown table.

    Args:
        table: of `compare`.
        splits: of evaluation prompts.
    """
    first = table.iloc[0]
    judge = "the simulated raters' noiseless score" if first["judge"] == "noiseless" else "the learned reward"
    heads = ["alignment", "gain in held-out reward", *(f"win rate, {split}" for split in splits)]
    heads += ["iterations to the target", "network evaluations to it, thousands", "seeds that reached it"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table.to_dict("records"):
        cells = [row["variant"], cell(row, "reward_gain", 1, "{:+.3f}")]
        cells += [cell(row, f"{split}_win_rate", 100, "{:.1f}", " %") for split in splits]
        cells += [cell(row, "iterations", 1, "{:.1f}"), cell(row, "network_evaluations", 1e-3, "{:.1f}")]
        lines.append("| " + " | ".join([*cells, f"{row['reached']} of {row['seeds']}"]) + " |")
    return (
        f"Means over {first['seeds']} seeds with 95 % intervals: Student's t over the seeds, and for win rates a "
        f"bootstrap over seeds and prompts together. Win rates against the base at S = 1, other noise, by {judge}. The "
        f"target is a gain of {first['target']:.3f} in the reward of held-out prompts; where not every seed reached "
        "it, the mean is of those that did.\n\n" + "\n".join(lines) + "\n"
    )


def ablate_align_figure(table: pd.DataFrame, curves: pd.DataFrame, splits: Sequence[str]) -> Figure:
    """Held-out reward over iterations and over network evaluations, mean and range of the seeds; win rates."""
    figure = Figure(figsize=(14, 4.4), layout="constrained")
    by_iteration, by_cost, rates = figure.subplots(1, 3)
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(table["variant"])}
    for axes, x in ((by_iteration, "iteration"), (by_cost, "network_evaluations")):
        for name, colour in colours.items():
            seen = curves[curves["variant"] == name].groupby("iteration")
            place, gain = seen[x].mean(), seen["reward_gain"]
            axes.plot(place, gain.mean(), color=colour, label=name, marker=".")
            axes.fill_between(place, gain.min(), gain.max(), color=colour, alpha=0.15, linewidth=0)
        axes.axhline(table["target"].iloc[0], color="0.5", linewidth=1, linestyle=":")
        axes.set_ylabel("gain in reward, held-out prompts")
    # Modes differ in what an iteration is by orders of magnitude.
    by_iteration.set(title="Over iterations; dotted: the target", xlabel="iterations", xscale="log")
    by_cost.set(title="Over what it costs", xlabel="network evaluations, thousands", xscale="log")
    for axes, scale in ((by_iteration, 1), (by_cost, 1e-3)):
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _, scale=scale: f"{value * scale:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    for number, split in enumerate(splits):
        value, low, high = (100 * table[f"{split}_win_rate{end}"].to_numpy() for end in ("", "_low", "_high"))
        rates.errorbar(
            value,
            np.arange(len(table)) + 0.2 * (number - (len(splits) - 1) / 2),
            xerr=np.abs(np.stack([value - low, high - value])),
            fmt="os^v"[number],
            capsize=3,
            color=COLOURS[1 + number],
            label=split,
        )
    rates.axvline(50, color="0.6", linewidth=1, linestyle="--")
    rates.set_yticks(range(len(table)), table["variant"])
    rates.invert_yaxis()
    rates.set(title="Win rate against the base, S = 1, %")
    rates.legend(fontsize=8, frameon=False)
    by_iteration.legend(fontsize=8, frameon=False)
    return figure
