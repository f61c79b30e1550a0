"""Any number of methods side by side: the paper's Table 1 and Figure 4."""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.measures import (
    ALL,
    DIGITS,
    JUDGES,
    check_samples,
    keyed_values,
    outside_prompts,
    truest_judge,
)
from prefpaint.evaluation.samples import EDGE, FLAWS, NOISE_SETS, OUTSIDE, original_edge
from prefpaint.stats.bootstrap import best_of, bootstrap_mean, sample_variance, win_rate_independent

logger = logging.getLogger(__name__)

# The paper's two kinds of hole, those drawn as people make them, and the user's own.
PAPER = {"outpainting": ("outpaint_square", "outpaint_strip"), "warping": ("warp",)}
GROUPS = {**PAPER, "drawn": ("box", "brush", "object"), "own": ("own",)}
OFFLINE = ("hole_psnr", "hole_ssim", *OUTSIDE, *FLAWS, *EDGE, "hole_spread", "width")
# Untouched originals, where a measure has a value for them: what it gives for a photograph.
ORIGINAL = "original"
COLUMNS = (
    "split", "pattern", "judge", "quantity", "method", "against", "best_of", "prompts", "value", "low", "high", "key"
)  # fmt: skip

# (P, n) per noise set; a deterministic method has one sample, which serves both sets.
Values = Mapping[str, np.ndarray]


def groups_among(patterns: Collection[str]) -> list[str]:
    """The groups that prompts with these patterns, or some of these groups, are expected to have.

    The paper's come together: without one of them, something is missing.
    """
    found = [name for name, kinds in GROUPS.items() if {name, *kinds} & set(patterns)]
    return [name for name in GROUPS if name in found or (name in PAPER and set(PAPER) & set(found))]


def _values(evaluation: pd.DataFrame, method: str, column: str) -> Values:
    ordered = evaluation[evaluation["method"] == method].sort_values(["prompt_id", "noise_set", "sample"])
    found = {
        noise_set: part[column].to_numpy(np.float64).reshape(part["prompt_id"].nunique(), -1)
        for noise_set, part in ordered.groupby("noise_set")
    }
    return {noise_set: found.get(noise_set, found[NOISE_SETS[0]]) for noise_set in NOISE_SETS}


def duel(judged: Values, chosen_by: Values, size: int, against: Values) -> np.ndarray:
    """How often the best of `size` samples of one method beats a single sample of another, per prompt.

    Samples come from different noise, both noise sets serve both methods, a tie counts half.

    Args:
        judged: the judge's scores of the challenger.
        chosen_by: the scores by which the best is chosen.
        size: S, at most the challenger's samples.
        against: the judge's scores of the other method.

    Returns:
        (P,) in [0, 1].
    """
    rates = []
    for ours, theirs in zip(NOISE_SETS, reversed(NOISE_SETS), strict=True):
        rates.append(win_rate_independent(best_of(judged[ours], chosen_by[ours], size), against[theirs]))
    return np.mean(rates, axis=0)


def method_names(evaluation: pd.DataFrame) -> list[str]:
    """Methods in the order in which they were planned."""
    return list(evaluation["method"].drop_duplicates())


def compare_methods(evaluation: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """The paper's Table 1 with intervals, its Figure 4, and what needs no learned score.

    Args:
        evaluation: of `samples.judge_samples`.
        config: S, bootstrap, splits.

    Returns:
        One row per number: split; pattern (all, or one of `GROUPS`); judge (noiseless, reward; stlpips_alex and
        stlpips_vgg, which win where the distance to the original is smaller, only at S = 1; or the column that is
        averaged); quantity (win_rate, mean, variance between samples of a prompt, difference from the base prompt by
        prompt for the measures of `EDGE`); method, for those measures also `ORIGINAL`; against (the other method of a
        win rate or a difference); best_of (win rates); prompts, those that the judge knows; value with its 95 %
        interval low, high; key, the name of the value among the flat metrics.

    Raises:
        PrefPaintError: see `measures.check_samples`.
    """
    names = method_names(evaluation)
    check_samples(evaluation, config)
    rows: list[dict[str, object]] = []
    groups = {name: GROUPS[name] for name in groups_among(evaluation["pattern"].unique())}
    for split in config.splits:
        of_split = evaluation[evaluation["split"] == split]
        for pattern, kinds in {ALL: tuple(of_split["pattern"].unique()), **groups}.items():
            part = of_split[of_split["pattern"].isin(kinds)]
            # An empty pattern has no row rather than rows of nothing; the page says so.
            if part.empty:
                logger.warning("%s: no prompt has a hole of the kind %s (masks.patterns)", split, pattern)
            else:
                rows += [{"split": split, "pattern": pattern, **row} for row in _rows(part, names, config)]
    for row in rows:
        row["key"] = _key(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"best_of": "Int64"})


def _key(row: Mapping[str, object]) -> str:
    kind = [] if row["pattern"] == ALL else [row["pattern"]]
    key = "_".join(map(str, [row["split"], *kind, row["judge"], row["quantity"], row["method"]]))
    if not row["against"]:
        return key
    return f"{key}_against_{row['against']}" + ("" if row["best_of"] is None else f"_s{row['best_of']}")


def _rows(part: pd.DataFrame, names: Sequence[str], config: EvaluateConfig) -> Iterator[dict[str, object]]:
    seed = derive_seed("bootstrap", config.seed)

    def row(judge: str, quantity: str, method: str, per_prompt: np.ndarray, **more: object) -> dict[str, object]:
        found = bootstrap_mean(per_prompt, config.resamples, seed)
        spread = {"prompts": found.prompts, "value": found.value, "low": found.low, "high": found.high}
        return {
            "judge": judge,
            "quantity": quantity,
            "method": method,
            "against": "",
            "best_of": None,
            **more,
            **spread,
        }

    for judge in JUDGES:
        known = judge.judged(part)
        if known.empty:
            continue
        judged, reward = ({name: _values(known, name, column) for name in names} for column in ("preference", "reward"))
        for name in names:
            for other in names:
                for size in judge.sizes(config.best_of) if other == "base" else (1,):
                    # A deterministic method has no best of several.
                    if size > judged[name][NOISE_SETS[0]].shape[1]:
                        continue
                    if name != other or size > 1:
                        rates = duel(judged[name], reward[name], size, judged[other])
                        yield row(judge.name, "win_rate", name, rates, against=other, best_of=size)
            if judge.outside:
                continue
            pooled = np.concatenate([judged[name][each] for each in NOISE_SETS], 1)
            yield row(judge.name, "mean", name, pooled.mean(1))
            # A deterministic method has nothing to vary.
            if part[part["method"] == name].groupby("prompt_id").size().min() > 1:
                yield row(judge.name, "variance", name, sample_variance(pooled))
    for column in OFFLINE:
        values = {name: part[part["method"] == name].groupby("prompt_id")[column].mean().to_numpy() for name in names}
        if column in EDGE:
            values[ORIGINAL] = part.groupby("prompt_id")[original_edge(column)].first().to_numpy()
        for name, found in values.items():
            if np.isfinite(found).any():
                yield row(column, "mean", name, found)
                if column in EDGE and name != "base":
                    yield row(column, "difference", name, found - values["base"], against="base")


def methods_metrics(table: pd.DataFrame) -> dict[str, float | int]:
    """The table as flat metrics, e.g. seen_warping_noiseless_win_rate_telea_against_base_s1, ..._low, ..._high."""
    metrics = keyed_values(table) | outside_prompts(table)
    for (split, pattern), part in table[table["judge"] == "reward"].groupby(["split", "pattern"]):
        metrics[f"{split}_prompts" if pattern == ALL else f"{split}_{pattern}_prompts"] = int(part["prompts"].max())
    return metrics


def win_rates_against_base(table: pd.DataFrame) -> pd.DataFrame:
    """Win rates at S = 1 by the truest judge, one row per split and method, for `dvc plots`.

    Args:
        table: of `compare_methods`.

    Returns:
        method ("seen, telea"), win_rate, low, high, prompts.
    """
    chosen = (table["quantity"] == "win_rate") & (table["best_of"] == 1) & (table["against"] == "base")
    rates = table[chosen & (table["pattern"] == ALL) & (table["judge"] == truest_judge(table))]
    names = rates["split"].str.cat(rates["method"], sep=", ")
    shown = rates[["value", "low", "high"]].round(DIGITS).rename(columns={"value": "win_rate"})
    return shown.assign(method=names, prompts=rates["prompts"])[["method", "win_rate", "low", "high", "prompts"]]


def draw_duels(table: pd.DataFrame) -> object:
    """Everybody against everybody at S = 1 (the paper's Figure 4): a heat map per split, by the truest judge.

    Args:
        table: of `compare_methods`.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    judge = truest_judge(table)
    chosen = (table["quantity"] == "win_rate") & (table["best_of"] == 1) & (table["pattern"] == ALL)
    rates = table[chosen & (table["judge"] == judge)]
    splits, names = list(rates["split"].unique()), list(rates["method"].unique())
    side = 1.6 + 0.75 * len(names)
    figure = Figure(figsize=(side * len(splits) + 0.8, side), layout="constrained")
    axes = figure.subplots(1, len(splits), squeeze=False)[0]
    image = None
    for axis, split in zip(axes, splits, strict=True):
        wide = rates[rates["split"] == split].pivot(index="method", columns="against", values="value")
        share = wide.reindex(index=names, columns=names).to_numpy(np.float64)
        image = axis.imshow(100 * share, cmap="RdBu", vmin=0, vmax=100)
        for i in range(len(names)):
            for j in range(len(names)):
                if np.isfinite(share[i, j]):
                    dark = abs(share[i, j] - 0.5) > 0.3
                    colour = "white" if dark else "black"
                    axis.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=colour)
        axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set(title=f"{split}: row against column", xlabel="against")
    if image is not None:
        figure.colorbar(image, ax=list(axes), label="win rate, %", shrink=0.8)
    return figure
