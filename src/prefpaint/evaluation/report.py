"""The page that says how much better the aligned model got and how far to believe that."""

import base64
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prefpaint.evaluation.figures import CELL_NAMES, CHOICES, GalleryRow
from prefpaint.evaluation.measures import ALL
from prefpaint.reward.trust import WIDTHS

NOTHING, MINUS = "–", "−"
# Larger pictures are reduced to this for the page; the full ones lie in the data folder.
LARGEST_SIDE = 192
# Normalised scores have spread 1: an interval of ± 3 holds nearly all of them.
VACUOUS = 3.0
SPLIT_WORDS = {
    "seen": "new crops and holes in regions the base model was pretrained on",
    "unseen": "regions whose pixels nothing was trained on",
}
JUDGE_WORDS = {"noiseless": "simulated raters, noiseless", "reward": "learned reward"}
COMPARISON_WORDS = {
    "base_base": "base against base",
    "independent": "aligned, other noise",
    "equal": "aligned, same noise",
}
DESCRIPTION_WORDS = {
    "noiseless": ("simulated raters' noiseless score", "0 to 7; more is better"),
    "reward": ("learned reward", "normalised score units; more is better"),
    "log_energy": ("texture against surroundings", "log ratio; 0 as textured as around, below 0 smoother"),
    "log_energy_coarse": ("the same at half size", "log ratio"),
    "seam": ("step across the hole's edge", "log ratio; 0 is none"),
    "colour": ("colour step at the edge", "RGB distance, 0 to 1"),
    "palette": ("colours foreign to the picture", "RGB distance, 0 to 1"),
    "hole_spread": ("difference between samples of one prompt", "grey levels; less is less diverse"),
    "hole_psnr": ("likeness to the hidden original", "PSNR of the hole, dB; outpainting only; no rater saw it"),
    "hole_ssim": ("the same as structural similarity", "SSIM of the hole, at most 1; outpainting only"),
    "width": ("trust width", "more is farther from what was rated"),
}
METRICS_WORDS = {
    "evaluate_metrics": "Evaluation",
    "methods_metrics": "All methods",
    "learned_metrics": "Other people's models",
    "preferences_metrics": "Preferences",
    "reward_metrics": "Reward model",
    "bound_metrics": "Trust",
    "align_metrics": "Alignment",
    "extend_metrics": "Wider pictures",
    "novel_view_metrics": "Other views",
}
KEY_WORDS = (
    ("win_rate", "win rate"),
    ("base_base", "base against base"),
    ("order_accuracy", "pairs within a prompt ordered right"),
    ("pair_accuracy", "pairs within a prompt ordered right"),
    ("equal", "same noise"),
    ("independent", "other noise"),
    ("hole_psnr", "hole PSNR"),
    ("spearman", "Spearman correlation"),
    ("gamma", "γ"),
    ("std", "standard deviation"),
)


def plain_words(key: str) -> str:
    """A metric's key as words: `seen_noiseless_win_rate_equal_s3` → "seen noiseless win rate same noise, best of 3"."""
    words = re.sub(r"_s(\d+)$", r", best of \1", key)
    for short, long in KEY_WORDS:
        words = re.sub(rf"(^|_){short}(?=_|,|$)", rf"\1{long}", words)
    return words.replace("_", " ")


def percent(value: float) -> str:
    """0.6712 → "67.1 %", not to be broken across lines."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else NOTHING


def percent_range(row: Mapping[str, Any]) -> str:
    """The interval of a row with low and high: "60.2–73.4 %"."""
    return f"{100 * row['low']:.1f}–{percent(row['high'])}"


def number(value: Any) -> str:
    """Three significant digits for fractions; whole numbers, words and lists as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return NOTHING
    if float(value).is_integer():
        text = f"{int(value):,}"
    else:
        text = f"{value:.3f}" if 0.1 <= abs(value) < 1000 else f"{value:.3g}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """A change with its sign: three decimals, or two digits when it is tiny."""
    text = f"{value:+.3f}" if abs(value) >= 0.01 else f"{value:+.2g}"
    return text.replace("-", MINUS)


def metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Flat metrics as (words, value, interval, key); key, key_low and key_high make one row."""
    rows = []
    for key, value in metrics.items():
        stem, _, end = key.rpartition("_")
        if end in ("low", "high") and stem in metrics:
            continue
        low, high = metrics.get(f"{key}_low"), metrics.get(f"{key}_high")
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        rows.append((plain_words(key), number(value), interval, key))
    return rows


def data_uri(png: bytes) -> str:
    """PNG bytes as something an `img` element takes."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _cell_uri(cell: np.ndarray | None) -> str | None:
    if cell is None:
        return None
    picture = Image.fromarray(cell)
    if picture.width > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return data_uri(stream.getvalue())


@dataclass(frozen=True)
class Verdict:
    """What one split says.

    Attributes:
        split: its name.
        sentence: how often the aligned model's picture wins and what that shows.
        word: better, worse or open.
        value, low, high: the win rate at S = 1, independent noise.
    """

    split: str
    sentence: str
    word: str
    value: float
    low: float
    high: float


def verdict(row: "pd.Series[Any]", change: "pd.Series[Any]") -> Verdict:
    """Read one win rate and its mean change.

    A win rate whose interval contains one half shows neither gain nor loss; a mean that moves the other way
    is said.

    Args:
        row: of the measures table: win_rate, independent, S = 1.
        change: difference, aligned minus base, of the same judge and split.
    """
    word = "better" if row["low"] > 0.5 else "worse" if row["high"] < 0.5 else "open"
    meaning = {
        "better": "better than the base",
        "worse": "worse than the base",
        "open": "neither a gain nor a loss is shown",
    }[word]
    sentence = (
        f"On {row['prompts']} {row['split']} prompts the aligned model wins {percent(row['value'])} of comparisons "
        f"(95\N{NO-BREAK SPACE}% interval {percent_range(row)}): {meaning}; the mean score changes by "
        f"{signed(change['value'])} ({signed(change['low'])} to {signed(change['high'])})."
    )
    if (word == "better" and change["value"] < 0) or (word == "worse" and change["value"] > 0):
        sentence += " Win rate and mean disagree: a few prompts changed much, the other way."
    return Verdict(str(row["split"]), sentence, word, row["value"], row["low"], row["high"])


def _pick(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    chosen = table
    for column, value in values.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def verdicts(table: pd.DataFrame) -> list[Verdict]:
    """One per split, by the truest judge there is."""
    judge = "noiseless" if (table["judge"] == "noiseless").any() else "reward"
    whole = _pick(table, pattern=ALL, judge=judge)
    rates = _pick(whole, quantity="win_rate", comparison="independent", best_of=1)
    changes = _pick(whole, quantity="difference").set_index("split")
    return [verdict(row, changes.loc[row["split"]]) for _, row in rates.iterrows()]


def trust_sentences(table: pd.DataFrame) -> list[str]:
    """How far the reward can be believed, from the compared samples themselves; empty without a noiseless score."""
    whole = _pick(table, pattern=ALL)
    sentences = []
    for split in whole.loc[whole["judge"] == "noiseless", "split"].unique():
        of_split = _pick(whole, split=split)
        rates = _pick(of_split, quantity="win_rate", comparison="independent", best_of=1).set_index("judge")["value"]
        order = _pick(of_split, quantity="order_accuracy").set_index("comparison")
        parts = [
            f"{percent(row['value'])} ({percent_range(row)}) among {words}"
            for name, words in (("base", "the base's samples"), ("aligned", "the aligned model's"))
            for _, row in order.loc[[name]].iterrows()
            if math.isfinite(row["value"])
        ]
        gap = rates["reward"] - rates["noiseless"]
        sentence = (
            f"{split}: by the learned reward the aligned model wins {percent(rates['reward'])}, by the simulated "
            f"raters' noiseless score {percent(rates['noiseless'])}"
            + (": part of the gain in reward is not one the raters would see." if gap > 0.03 else ".")
        )
        if parts:
            sentence += (
                " Of two samples of one prompt the reward prefers the one the noiseless score prefers in "
                f"{' and '.join(parts)}; guessing gives 50\N{NO-BREAK SPACE}%."
            )
        sentences.append(sentence)
    return sentences


def reward_sentence(metrics: Mapping[str, Any]) -> str:
    """The reward on rated test candidates, beside what the raters' own labels reach; empty without test metrics."""
    truth = "noiseless" if "test_noiseless_pair_accuracy" in metrics else "ratings"
    if f"test_{truth}_pair_accuracy" not in metrics:
        return ""
    against = {"noiseless": "the simulated raters' noiseless score", "ratings": "the raters' mean score"}[truth]
    sentence = (
        f"On test candidates of the base the reward orders {percent(metrics[f'test_{truth}_pair_accuracy'])} of pairs "
        f"within a prompt as {against} does, and its Spearman correlation with it is "
        f"{number(metrics[f'test_{truth}_spearman'])}."
    )
    ceiling = "test_ceiling_raters_mean_vs_noiseless"
    if f"{ceiling}_pair_accuracy" in metrics:
        sentence += (
            f" The raters' own mean label reaches {percent(metrics[f'{ceiling}_pair_accuracy'])} and "
            f"{number(metrics[f'{ceiling}_spearman'])}: their noise is the ceiling."
        )
    return sentence


def watch_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What held-out prompts said while alignment ran; empty without a watch."""
    if "watch_referee_gain" not in metrics:
        return []
    judges = [
        ("reward", "the reward that is raised"),
        ("referee", "the referee, a reward model of other ratings"),
        ("noiseless", "the simulated raters' noiseless score (points of 0 to 7), which decides nothing"),
    ]
    gains = [
        f"{signed(metrics[f'watch_{name}_gain'])} \N{PLUS-MINUS SIGN} {number(metrics[f'watch_{name}_gain_error'])} by "
        f"{words}"
        for name, words in judges
        if f"watch_{name}_gain" in metrics
    ]
    drift = ", ".join(
        f"{name} {signed(metrics[f'watch_{name}'])}" for name in ("brightness", "saturation", "sharpness")
    )
    stopped = " Alignment was stopped early by it." if metrics["watch_stopped_early"] else ""
    against = [words for name, words in judges if metrics.get(f"watch_hacked_by_{name}")]
    suspicion = (
        f"The reward rose against {' and '.join(against)}: the policy has begun to exploit the reward model."
        if against
        else "No other judge shows that the policy exploits the reward model."
    )
    return [
        f"Kept are the weights after iteration {metrics['watch_best_iteration']} of {metrics['iterations']}, those the "
        f"referee likes most on held-out prompts.{stopped} There the gain over the base from the same noise, with one "
        f"standard error, is {'; '.join(gains)}.",
        f"{suspicion} Fills drifted from the base's by: {drift} (of 1); KL to the base {number(metrics['watch_kl'])} "
        "nats per step and latent.",
    ]


def bound_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether trust carries information; empty without bound metrics."""
    if "participation_ratio" not in metrics or "gamma_coefficient_of_variation" not in metrics:
        return ""
    rank, variation = number(metrics["participation_ratio"]), percent(metrics["gamma_coefficient_of_variation"])
    sentence = (
        f"Effective rank of the embeddings (participation ratio): {rank}; coefficient of variation of γ: {variation}."
    )
    name = "validation_spearman_width_error"
    if name in metrics:
        sentence += (
            f" Spearman correlation of trust width and error on validation: {number(metrics[name])} "
            f"({number(metrics[f'{name}_low'])} to {number(metrics[f'{name}_high'])})."
        )
    if not metrics.get("trust_informative", 1):
        sentence += " The trust width carries no information: no sample was weighed by it."
    return sentence


def width_sentence(metrics: Mapping[str, Any]) -> str:
    """Which width says most about the reward's errors on test candidates; empty without these metrics."""
    found = {
        kind: [metrics[f"test_spearman_{kind}_error_ratings{end}"] for end in ("", "_low", "_high")]
        for kind in WIDTHS
        if f"test_spearman_{kind}_error_ratings" in metrics
    }
    if not found:
        return ""
    best = max(found, key=lambda kind: found[kind][0])
    value, low, high = found[best]
    others = [
        f"{kind} {number(other[0])} ({number(other[1])} to {number(other[2])})"
        for kind, other in found.items()
        if kind != best
    ]
    sentence = (
        f"Of the widths the {best} one ranks the reward's errors on test ratings best: Spearman {number(value)}, "
        f"95\N{NO-BREAK SPACE}% interval {number(low)} to {number(high)}"
        + (f"; {', '.join(others)}." if others else ".")
    )
    if low <= 0:
        return sentence + " The interval includes 0: no width is shown to carry information there."
    if any(other[2] >= low for kind, other in found.items() if kind != best):
        return sentence + " It carries information, but the intervals overlap: which width carries most is not clear."
    return sentence + " It carries information, and more than the others."


def interval_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What the proved bound and the split-conformal yardstick keep on test candidates; empty without these metrics."""
    if "test_bound_coverage_ratings" not in metrics:
        return []
    truth = "noiseless" if "test_bound_coverage_noiseless" in metrics else "ratings"
    against = {"noiseless": "noiseless scores", "ratings": "ratings"}[truth]
    width, tightness = metrics["test_bound_half_width"], metrics[f"test_bound_tightness_{truth}"]
    level = percent(1 - metrics["delta"])
    sentences = [
        f"The bound, ridge estimate ± {number(metrics['bound_factor'])} · elliptical width, holds "
        f"{percent(metrics[f'test_bound_coverage_{truth}'])} of the {against} of test candidates; it promises to hold "
        f"all of them at once with probability {level}. It reaches {number(width)} score "
        f"units to either side on average, for half of the candidates more than {number(tightness)} times their error"
        + ("; the whole range of scores is narrower, so it is safe but says little." if width > VACUOUS else ".")
    ]
    if "test_conformal_coverage_ratings" in metrics and "test_conformal_scaled_coverage_ratings" in metrics:
        sentences.append(
            f"Yardstick: split-conformal intervals from validation errors, which promise {level} for one new candidate "
            f"and need no theory. Of one length they hold {percent(metrics['test_conformal_coverage_ratings'])} of "
            f"test ratings at {number(metrics['test_conformal_length'])} score units from end to end; with length in "
            f"proportion to the trust width, {percent(metrics['test_conformal_scaled_coverage_ratings'])} at "
            f"{number(metrics['test_conformal_scaled_length'])}."
        )
    return sentences


def worlds_sentence(worlds: pd.DataFrame) -> str:
    """The worst of the drawn worlds' settings; empty without worlds."""
    if worlds.empty:
        return ""
    parts = [
        f"δ = {number(float(delta))}: at most {percent(rows['violated'].max())}"
        for delta, rows in worlds.groupby("delta")
    ]
    return (
        f"In {number(int(worlds['worlds'].sum()))} drawn worlds whose true ψ* is known, the bound failed for some "
        f"picture in this share of the worlds of any setting: {'; '.join(parts)}. It is "
        f"{number(worlds['tightness'].min())} to {number(worlds['tightness'].max())} times the typical error: the "
        "price of holding for every picture at once."
    )


@dataclass(frozen=True)
class Report:
    """What the page is made from.

    Attributes:
        simulated: whether the raters are simulated.
        table: of `measures.measure`.
        methods: of `methods.compare_methods`.
        learned: of `learned.learned_scores`.
        gallery: of `figures.choose_rows`.
        metrics: flat metrics by dataset name.
        figures: PNG bytes by dataset name.
        worlds: of `reward.worlds.worlds_table`.
    """

    simulated: bool
    table: pd.DataFrame
    methods: pd.DataFrame
    learned: pd.DataFrame
    gallery: Sequence[GalleryRow]
    metrics: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, bytes]
    worlds: pd.DataFrame


def _description_rows(table: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    of_split = _pick(table, pattern=ALL, split=split)
    rows = []
    for judge, (words, unit) in DESCRIPTION_WORDS.items():
        means = _pick(of_split, judge=judge, quantity="mean").set_index("comparison")
        change = _pick(of_split, judge=judge, quantity="difference")
        if len(means) and len(change):
            rows.append(
                {
                    "words": words,
                    "unit": unit,
                    "base": means.loc["base", "value"],
                    "aligned": means.loc["aligned", "value"],
                    "change": change.iloc[0],
                }
            )
    return rows


def _variance_rows(table: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    variances = _pick(table, pattern=ALL, split=split, quantity="variance")
    pairs = variances.pivot(index="judge", columns="comparison", values="value")
    return [{"words": JUDGE_WORDS[judge], **pairs.loc[judge]} for judge in JUDGE_WORDS if judge in pairs.index]


def _second_view_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Likeness of the filled pixels to a true second view, per fill; none without these metrics."""
    names = [key.removeprefix("psnr_") for key in metrics if f"{key}_low" in metrics and key.startswith("psnr_")]
    return [
        {
            "method": name,
            "values": [
                {
                    end: metrics[f"{quantity}_{name}{tail}"]
                    for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
                }
                for quantity in ("psnr", "ssim")
            ],
        }
        for name in names
    ]


def joints_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether the joints of widened pictures show; empty without widened pictures."""
    if not metrics.get("joints"):
        return ""
    return (
        f"{number(metrics['pictures'])} pictures were widened with {number(metrics['joints'])} joints: "
        f"{percent(metrics['joints_within_range'])} of the joints are as visible as the other columns of their picture "
        f"(mean step within the middle 95\N{NO-BREAK SPACE}% of theirs), {percent(metrics['joints_above_range'])} more "
        "visible, the rest smoother."
    )


OFFLINE_WORDS = {
    "hole_psnr": "PSNR, dB",
    "hole_ssim": "SSIM",
    "seam": "edge step",
    "colour": "colour step",
    "log_energy": "texture",
    "hole_spread": "diversity",
    "width": "trust width",
}


def _method_rows(methods: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """The paper's Table 1: per kind of hole and method the win rates against the base, mean and variance."""
    judge = "noiseless" if (methods["judge"] == "noiseless").any() else "reward"
    rows = []
    for pattern in methods.loc[methods["split"] == split, "pattern"].unique():
        part = _pick(methods, split=split, pattern=pattern)
        for name in part["method"].unique():
            of_method = _pick(part, method=name)
            wins = _pick(of_method, judge=judge, quantity="win_rate", against="base")
            reward = _pick(of_method, judge="reward").set_index("quantity")
            rows.append(
                {
                    "pattern": pattern,
                    "method": name,
                    "wins": {int(row["best_of"]): row for _, row in wins.iterrows()},
                    "mean": reward.loc["mean"],
                    "variance": reward.loc["variance"] if "variance" in reward.index else None,
                    "prompts": int(reward.loc["mean", "prompts"]),
                }
            )
    return rows


SCORE_WORDS = {
    "clip": "CLIP score",
    "blip": "BLIP, probability of a match",
    "aesthetic": "aesthetic score",
    "classification_accuracy": "classified as the original is",
    "inception_score": "Inception Score",
    "imagereward": "ImageReward",
}


def _learned_rows(learned: pd.DataFrame, splits: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """The paper's Table 2: per score and split a value of every method, or why it was not run."""
    rows = []
    for score, words in SCORE_WORDS.items():
        part = _pick(learned, score=score)
        status = part["status"].iloc[0]
        if (part["method"].isna()).all():
            rows.append({"words": words, "split": "", "status": status, "values": []})
            continue
        for split in splits:
            of_split = _pick(part, split=split).set_index("method")
            values = [of_split.loc[name] if name in of_split.index else None for name in names]
            rows.append({"words": words, "split": split, "status": status, "values": values})
    return rows


def beaten_sentences(methods: pd.DataFrame) -> list[str]:
    """Methods that are shown to beat the aligned model; said in the headline, for the base alone is a low bar."""
    judge = "noiseless" if (methods["judge"] == "noiseless").any() else "reward"
    rates = _pick(methods, pattern=ALL, judge=judge, quantity="win_rate", against="aligned", best_of=1)
    ahead = rates[(rates["low"] > 0.5) & (rates["method"] != "base")]
    sentences = []
    for split, rows in ahead.groupby("split", sort=False):
        wins = [f"{row['method']} wins {percent(row['value'])} ({percent_range(row)})" for _, row in rows.iterrows()]
        sentences.append(
            f"On {split} prompts {' and '.join(wins)} against the aligned model: for this judge there are better fills."
        )
    return sentences


def _offline_rows(methods: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    part = _pick(methods, split=split, pattern=ALL, quantity="mean")
    shown = part[part["judge"].isin(list(OFFLINE_WORDS))]
    wide = shown.pivot(index="method", columns="judge", values="value").reindex(columns=list(OFFLINE_WORDS))
    return [{"method": name, "values": list(wide.loc[name])} for name in part["method"].unique()]


def render_report(report: Report) -> str:
    """The whole page as one HTML string: no script, nothing loaded from elsewhere.

    Every metric appears, in the sections where it matters or in the appendix; metrics and figures this
    module does not know are shown under their own names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prefpaint.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, signed=signed, percent_range=percent_range)
    table, splits = report.table, list(report.table["split"].unique())
    rates = table[(table["quantity"] == "win_rate")].sort_values("best_of", kind="stable")
    return environment.get_template("report.html.jinja").render(
        simulated=report.simulated,
        verdicts=verdicts(table),
        trust_sentences=[
            sentence
            for sentence in (
                *trust_sentences(table),
                reward_sentence(report.metrics.get("reward_metrics", {})),
                bound_sentence(report.metrics.get("bound_metrics", {})),
            )
            if sentence
        ],
        watch_sentences=watch_sentences(report.metrics.get("align_metrics", {})),
        bound_sentences=[
            sentence
            for metrics in [report.metrics.get("bound_metrics", {})]
            for sentence in (width_sentence(metrics), *interval_sentences(metrics))
            if sentence
        ],
        worlds_sentence=worlds_sentence(report.worlds),
        joints_sentence=joints_sentence(report.metrics.get("extend_metrics", {})),
        second_view=report.metrics.get("novel_view_metrics", {}),
        second_view_rows=_second_view_rows(report.metrics.get("novel_view_metrics", {})),
        worlds=report.worlds.to_dict("records"),
        splits=splits,
        split_words=SPLIT_WORDS,
        judge_words=JUDGE_WORDS,
        comparison_words=COMPARISON_WORDS,
        prompts={split: int(_pick(table, split=split, pattern=ALL)["prompts"].max()) for split in splits},
        rates={
            split: {
                judge: _pick(rates, split=split, pattern=ALL, judge=judge).to_dict("records")
                for judge in JUDGE_WORDS
                if (rates["judge"] == judge).any()
            }
            for split in splits
        },
        pattern_rates={
            split: rates[(rates["split"] == split) & (rates["pattern"] != ALL)].to_dict("records") for split in splits
        },
        beaten_sentences=beaten_sentences(report.methods),
        sizes=sorted(int(size) for size in table["best_of"].dropna().unique()),
        method_rows={split: _method_rows(report.methods, split) for split in splits},
        method_names=list(report.methods["method"].unique()),
        learned_rows=_learned_rows(report.learned, splits, list(report.methods["method"].unique())),
        offline_words=list(OFFLINE_WORDS.values()),
        offline_rows={split: _offline_rows(report.methods, split) for split in splits},
        descriptions={split: _description_rows(table, split) for split in splits},
        variances={split: _variance_rows(table, split) for split in splits},
        gallery={
            split: {
                choice: [
                    {
                        "row": row,
                        "cells": list(zip(CELL_NAMES, map(_cell_uri, row.cells), strict=True)),
                    }
                    for row in report.gallery
                    if (row.split, row.choice) == (split, choice)
                ]
                for choice in CHOICES
            }
            for split in splits
        },
        metrics={
            name: {"words": METRICS_WORDS.get(name, plain_words(name)), "rows": metric_rows(values)}
            for name, values in report.metrics.items()
        },
        figures={name: data_uri(png) for name, png in report.figures.items()},
    )
