"""Ways of aligning side by side: what they gain, what it costs, and what it does to the pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from prefpaint.alignment.job import Job
from prefpaint.alignment.run import align
from prefpaint.alignment.watch import appearance_of_holes
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.stlpips import outside_judges
from prefpaint.experiments.ablate_align_config import AblateAlignConfig
from prefpaint.experiments.runs import COLOURS, cell, each_run, interval_columns, once, reached
from prefpaint.fills.differences import hole_spread
from prefpaint.inpainting.checkpoint import weights_digest
from prefpaint.inpainting.sampling import Inpainter, in_batches
from prefpaint.masks.words import text_prompts
from prefpaint.stats.bootstrap import share_won

NOISES = 2


@dataclass(frozen=True)
class Judged:
    """What is measured of two samples of each of P prompts.

    Attributes:
        score: (P, 2), by the raters without noise; where people rated, by the learned reward.
        brightness: (P, 2), mean luma of the hole in [0, 1].
        spread: (P,), how far the two samples lie apart in the hole: root mean square, grey levels.
        distance: by network of ST-LPIPS, (P, 2), to the hidden original; NaN where there is none.
    """

    score: np.ndarray
    brightness: np.ndarray
    spread: np.ndarray
    distance: dict[str, np.ndarray]

    def plain(self) -> dict[str, Any]:
        """As JSON."""
        plain = {name: getattr(self, name).tolist() for name in ("score", "brightness", "spread")}
        return plain | {"distance": {name: values.tolist() for name, values in self.distance.items()}}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Judged":
        """From JSON."""
        distance = {name: np.array(values, np.float64) for name, values in plain["distance"].items()}
        score, brightness, spread = (np.array(plain[name], np.float64) for name in ("score", "brightness", "spread"))
        return cls(score, brightness, spread, distance)


@dataclass(frozen=True)
class Run:
    """What one alignment came to.

    Attributes:
        iterations, evaluations, gains: per look at held-out prompts: iterations and network evaluations done, gain in
            reward over the base.
        judged: by split.
    """

    iterations: np.ndarray
    evaluations: np.ndarray
    gains: np.ndarray
    judged: dict[str, Judged]

    def reach(self, target: float) -> tuple[float, float]:
        """Iterations and network evaluations at which the gain was the target; NaN twice when it was not reached."""
        return reached(self.gains, target, self.iterations), reached(self.gains, target, self.evaluations)


class _Judge:
    """Samples evaluation prompts with some network and judges them."""

    def __init__(self, job: Job, config: AblateAlignConfig) -> None:
        self.job, self.config = job, config
        self.inpainter = Inpainter(job.base, job.sampling)
        # Pictures are judged in one batch, which takes one shape: the most frequent.
        shapes = job.prompt_images.shapes(job.prompts["prompt_id"].tolist())
        frequent = Counter(shapes).most_common(1)[0][0]
        alike = job.prompts[[shape == frequent for shape in shapes]]
        self.prompts = {split: alike[alike["split"] == split].head(config.prompts) for split in config.splits}
        for split, prompts in self.prompts.items():
            if len(prompts) < 2:
                raise PrefPaintError(f"prompts: fewer than two in split {split}; set masks.prompts.{split}")
        self.outside = outside_judges()
        job.reward_model.to(self.inpainter.device)

    def identity(self) -> Any:
        """What the figures depend on besides the network."""
        return [prompts["prompt_id"].tolist() for prompts in self.prompts.values()], sorted(self.outside)

    def __call__(self, network: Any) -> dict[str, Judged]:
        """By split."""
        return {split: self._judge(prompts, network) for split, prompts in self.prompts.items()}

    def _judge(self, prompts: pd.DataFrame, network: Any) -> Judged:
        ids = [prompt for prompt in prompts["prompt_id"] for _ in range(NOISES)]
        seeds = [derive_seed("ablate_align", prompt, number % NOISES) for number, prompt in enumerate(ids)]
        originals, masks = self.job.prompt_images.stack(ids), self.job.prompt_masks.stack(ids)

        words = text_prompts(prompts)
        texts = [words[name] for name in ids]

        def paint(images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], texts: Sequence[str]) -> np.ndarray:
            return self.inpainter.rollout(images, masks, seeds, network, texts=texts).images

        fills = in_batches(paint, self.job.sampling.batch, originals, masks, seeds, texts)
        pairs = range(0, len(ids), NOISES)
        # A view change has no hidden original.
        known = np.repeat(prompts["pattern"].to_numpy() != "warp", NOISES)
        distance = {name: np.full(len(ids), np.nan) for name in self.outside}
        for name, judge in self.outside.items():
            distance[name][known] = judge.distance(fills[known], originals[known])
        return Judged(
            self._score(fills, masks, texts).reshape(-1, NOISES),
            appearance_of_holes(fills, masks)["brightness"].reshape(-1, NOISES),
            np.array([hole_spread(fills[n : n + NOISES], masks[n]).mean() for n in pairs]),
            {name: values.reshape(-1, NOISES) for name, values in distance.items()},
        )

    def _score(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        if self.job.rater is not None:
            return self.job.rater.score(images, masks)
        return self.job.reward_model.score(images, masks, self.job.reward.score_batch, texts)[0]


def run_variant(job: Job, judge: _Judge, workspace: Path, title: str) -> Run:
    """Align once and judge; what an earlier call finished is reused if it still fits."""
    rater = job.rater.digest() if job.rater else None
    inputs = weights_digest(job.base), job.inputs()
    stamp = fingerprint(job.config, job.sampling, inputs, judge.identity(), rater)

    def make() -> dict[str, Any]:
        result = align(job, workspace / "align", title)
        evaluations = [row["network_evaluations"] for row in result.history]
        network = result.network.to(judge.inpainter.device, judge.inpainter.dtype)
        return {
            "iterations": [row["iteration"] for row in result.watched],
            "evaluations": [evaluations[int(row["iteration"]) - 1] for row in result.watched],
            "gains": [row["reward_gain"] for row in result.watched],
            "judged": {split: found.plain() for split, found in judge(network).items()},
        }

    saved = once(workspace / "run.json", stamp, make)
    judged = {split: Judged.of(found) for split, found in saved["judged"].items()}
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
        reached it, reached (how many); over all splits, with the same interval, brightness, the mean difference from
        the base's, and diversity, the mean spread of two samples as a share of the base's; outside_win_rate, how often
        ST-LPIPS finds a fill closer to the original than the base's, mean of both networks, and per split
        SPLIT_win_rate at S = 1 against the base, both with other noise and the 95 % interval of a bootstrap over seeds
        and prompts together. And the curves: variant, seed, iteration, network_evaluations, reward_gain.
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
        row |= interval_columns("brightness", np.array([_drift(run.judged, base) for run in made]))
        row |= interval_columns("diversity", np.array([_diversity(run.judged, base) for run in made]))
        wins = {
            f"{split}_win_rate": [share_won(run.judged[split].score, base[split].score[:, ::-1]) for run in made]
            for split in config.splits
        }
        wins["outside_win_rate"] = [_outside_wins(run.judged, base) for run in made]
        for rate, won in wins.items():
            found = seeds_and_prompts(np.stack(won), config.resamples, derive_seed("ablate_align", rate))
            row |= dict(zip((f"{rate}{end}" for end in ("", "_low", "_high")), found, strict=True))
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


def _drift(judged: Mapping[str, Judged], base: Mapping[str, Judged]) -> float:
    """Mean difference in brightness from the base."""
    return float(np.concatenate([found.brightness - base[split].brightness for split, found in judged.items()]).mean())


def _diversity(judged: Mapping[str, Judged], base: Mapping[str, Judged]) -> float:
    """Mean spread of two samples as a share of the base's."""
    own, others = (np.concatenate([found.spread for found in each.values()]).mean() for each in (judged, base))
    return float(own / others)


def _outside_wins(judged: Mapping[str, Judged], base: Mapping[str, Judged]) -> np.ndarray:
    """Share of comparisons in which a fill is closer to the original than the base's, (P,) prompts that have one."""
    shares = [
        np.mean(
            [share_won(-values, -base[split].distance[name][:, ::-1]) for name, values in found.distance.items()],
            axis=0,
        )[~np.isnan(next(iter(found.distance.values()))).any(1)]
        for split, found in judged.items()
    ]
    return np.concatenate(shares)


def seeds_and_prompts(values: np.ndarray, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean and 95 % interval over seeds and prompts together (Owen 2007, The Pigeonhole Bootstrap).

    Args:
        values: (S, P).
        resamples: bootstrap draws, each of S seeds and P prompts with replacement.
        seed: of the draws.

    Returns:
        Mean, low, high; NaN without prompts.
    """
    if values.shape[1] == 0:
        return float("nan"), float("nan"), float("nan")
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
    heads += ["closer to the original, ST-LPIPS", "brightness", "diversity"]
    heads += ["iterations to the target", "network evaluations to it, thousands", "seeds that reached it"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table.to_dict("records"):
        cells = [row["variant"], cell(row, "reward_gain", 1, "{:+.3f}")]
        cells += [cell(row, f"{split}_win_rate", 100, "{:.1f}", " %") for split in splits]
        cells += [
            cell(row, "outside_win_rate", 100, "{:.1f}", " %", missing="no originals"),
            cell(row, "brightness", 1, "{:+.3f}"),
        ]
        cells += [cell(row, "diversity", 100, "{:.0f}", " %")]
        cells += [cell(row, "iterations", 1, "{:.1f}"), cell(row, "network_evaluations", 1e-3, "{:.1f}")]
        lines.append("| " + " | ".join([*cells, f"{row['reached']} of {row['seeds']}"]) + " |")
    return (
        f"Means over {first['seeds']} seeds with 95 % intervals: Student's t over the seeds, and for win rates a "
        f"bootstrap over seeds and prompts together. Win rates against the base at S = 1, other noise, by {judge}; "
        "ST-LPIPS compares with the hidden original. Brightness is the mean change in the hole, of 1; diversity is how "
        "far two samples of a prompt lie apart, as a share of the base's. "
        f"The target is a gain of {first['target']:.3f} in the reward of held-out prompts; where not every seed "
        "reached it, the mean is of those that did.\n\n" + "\n".join(lines) + "\n"
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
