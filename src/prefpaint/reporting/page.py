"""The page that says how much better the aligned model got and how far to believe that."""

import base64
import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prefpaint.evaluation.measures import ALL, truest_judge
from prefpaint.evaluation.methods import groups_among
from prefpaint.reporting import sentences
from prefpaint.reporting.edge import edge_rows, edge_sentences
from prefpaint.reporting.figures import CELL_NAMES, CHOICES, OPENING, GalleryRow
from prefpaint.reporting.sentences import pick
from prefpaint.reporting.wording import OUTSIDE_WORDS, number, percent, percent_range, plain_words, signed

# Larger pictures are reduced to this for the page; the full ones are in the data folder.
LARGEST_SIDE = 192
SPLIT_WORDS = {
    "seen": "other crops and holes of photographs that were rated and aligned on",
    "unseen": "photographs that nothing after pretraining has used",
}
JUDGE_WORDS = {
    "noiseless": "simulated raters, noiseless",
    "reward": "learned reward",
    **{name: f"closer to the hidden original, {words}" for name, words in OUTSIDE_WORDS.items()},
}
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
    "seam_ratio": ("step across the hole's edge", "times the steps beside it; 1: no seam"),
    "colour_step": ("colour step at the hole's edge", "grey levels; a photograph has one too, see All methods"),
    "palette": ("colours foreign to the picture", "RGB distance, 0 to 1"),
    "hole_spread": ("difference between samples of one prompt", "grey levels; less is less diverse"),
    "hole_psnr": ("likeness to the hidden original", "PSNR of the hole, dB; not of view changes; no rater saw it"),
    "hole_ssim": ("the same as structural similarity", "SSIM of the hole, at most 1; not of view changes"),
    **{
        name: ("distance from the hidden original", f"{words}, 0 is the original; not of view changes")
        for name, words in OUTSIDE_WORDS.items()
    },
    "width": ("trust width", "more is farther from what was rated"),
}
METRICS_WORDS = {
    "evaluate_metrics": "Evaluation",
    "methods_metrics": "All methods",
    "learned_metrics": "Other people's models",
    "sanity_metrics": "Sanity of the simulated raters",
    "preferences_metrics": "Preferences",
    "reward_metrics": "Reward model",
    "bound_metrics": "Trust",
    "align_metrics": "Alignment",
    "extend_metrics": "Wider pictures",
    "novel_view_metrics": "Other views",
    "reconstruct_metrics": "A scene in three dimensions",
}
MESH_WORDS = {"base": "base", "aligned": "aligned model"}
# Metrics of a scene that say how it is looked at.
CAMERA = ("field_of_view", "aspect", "pivot", "farthest_yaw", "farthest_pitch")
# Larger meshes stay out of the page: it would take long to open, and more memory than a phone gives.
LARGEST_MESH = 4 * 2**20
OFFLINE_WORDS = {
    "hole_psnr": "PSNR, dB",
    "hole_ssim": "SSIM",
    **{name: f"{words}, distance" for name, words in OUTSIDE_WORDS.items()},
    "log_energy": "texture",
    "hole_spread": "diversity",
    "width": "trust width",
}
SCORE_WORDS = {
    "clip": "CLIP score",
    "blip": "BLIP, probability of a match",
    "aesthetic": "aesthetic score",
    "classification_accuracy": "classified as the original is",
    "inception_score": "Inception Score",
    "imagereward": "ImageReward",
}


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
        worlds: of `trust.worlds.worlds_table`.
        sanity: of `sanity.sanity_table`.
        meshes: GLB bytes of the reconstructed scene for base and aligned; empty if there is none.
    """

    simulated: bool
    table: pd.DataFrame
    methods: pd.DataFrame
    learned: pd.DataFrame
    gallery: Sequence[GalleryRow]
    metrics: Mapping[str, Mapping[str, Any]]
    figures: Mapping[str, bytes]
    worlds: pd.DataFrame
    sanity: pd.DataFrame
    meshes: Mapping[str, bytes] = field(default_factory=dict)


def _description_rows(table: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    of_split = pick(table, pattern=ALL, split=split)
    rows = []
    for judge, (words, unit) in DESCRIPTION_WORDS.items():
        means = pick(of_split, judge=judge, quantity="mean").set_index("comparison")
        change = pick(of_split, judge=judge, quantity="difference")
        if len(means) and len(change):
            rows.append(
                {
                    "words": words,
                    "unit": unit,
                    "base": means.loc["base"],
                    "aligned": means.loc["aligned"],
                    "change": change.iloc[0],
                }
            )
    return rows


def _variance_rows(table: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    variances = pick(table, pattern=ALL, split=split, quantity="variance")
    rows = []
    for judge, words in JUDGE_WORDS.items():
        of_judge = pick(variances, judge=judge).set_index("comparison")
        if len(of_judge):
            rows.append({"words": words, "base": of_judge.loc["base"], "aligned": of_judge.loc["aligned"]})
    return rows


def _second_view_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Likeness of the filled pixels to a true second view, per fill; none without these metrics."""
    keys = [key for key in metrics if key.startswith("psnr_") and f"{key}_low" in metrics and key != "psnr_gain"]
    names = [key.removeprefix("psnr_") for key in keys]
    return [
        {
            "method": name,
            "values": [
                {
                    "key": f"{quantity}_{name}",
                    **{
                        end: metrics[f"{quantity}_{name}{tail}"]
                        for end, tail in (("value", ""), ("low", "_low"), ("high", "_high"))
                    },
                }
                for quantity in ("psnr", "ssim")
            ],
        }
        for name in names
    ]


def _names(methods: pd.DataFrame) -> list[str]:
    """The methods, without the untouched originals."""
    return list(pick(methods, judge="reward")["method"].unique())


def _method_rows(methods: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """The paper's Table 1: per kind of hole and method the win rates against the base, mean and variance.

    What the outside judges say of single samples is shown beside it; None where no original is known.
    """
    judge = truest_judge(methods)
    rows = []
    for pattern in methods.loc[methods["split"] == split, "pattern"].unique():
        part = pick(methods, split=split, pattern=pattern)
        for name in _names(part):
            of_method = pick(part, method=name)
            wins = pick(of_method, judge=judge, quantity="win_rate", against="base")
            reward = pick(of_method, judge="reward").set_index("quantity")
            nearer = pick(of_method, quantity="win_rate", against="base").set_index("judge")
            rows.append(
                {
                    "pattern": pattern,
                    "method": name,
                    "wins": {int(row["best_of"]): row for _, row in wins.iterrows()},
                    "outside": [nearer.loc[name] if name in nearer.index else None for name in OUTSIDE_WORDS],
                    "mean": reward.loc["mean"],
                    "variance": reward.loc["variance"] if "variance" in reward.index else None,
                    "prompts": int(reward.loc["mean", "prompts"]),
                }
            )
    return rows


def _sanity_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per pair, the kinds of hole beside each other."""
    return [
        {
            "pair": f"{str(better).replace('_', ' ')} over {str(worse).replace('_', ' ')}",
            "goal": part["goal"].iloc[0],
            "holes": {row["holes"]: row for row in part.to_dict("records")},
        }
        for (better, worse), part in table.groupby(["better", "worse"], sort=False)
    ]


def _learned_rows(learned: pd.DataFrame, splits: Sequence[str], names: Sequence[str]) -> list[dict[str, Any]]:
    """The paper's Table 2: per score and split a value of every method, or why it was not run."""
    rows = []
    for score, words in SCORE_WORDS.items():
        part = pick(learned, score=score)
        status = part["status"].iloc[0]
        if (part["method"].isna()).all():
            rows.append({"words": words, "split": "", "status": status, "values": []})
            continue
        for split in splits:
            of_split = pick(part, split=split).set_index("method")
            values = [of_split.loc[name] if name in of_split.index else None for name in names]
            rows.append({"words": words, "split": split, "status": status, "values": values})
    return rows


def _offline_rows(methods: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """Per method what needs no judge; None where a measure does not exist."""
    part = pick(methods, split=split, pattern=ALL, quantity="mean")
    rows = []
    for name in _names(part):
        of_method = pick(part, method=name).set_index("judge")
        values = [of_method.loc[column] if column in of_method.index else None for column in OFFLINE_WORDS]
        rows.append({"method": name, "values": values})
    return rows


def _scene(report: Report) -> dict[str, Any] | None:
    """What the section about the scene shows; None without a scene."""
    metrics = report.metrics.get("reconstruct_metrics", {})
    if not report.meshes or not set(CAMERA) <= set(metrics):
        return None
    small = max(map(len, report.meshes.values())) <= LARGEST_MESH
    said = [*sentences.scene_sentences(metrics)]
    if not small:
        said.append(
            f"The meshes are larger than {number(LARGEST_MESH // 2**20)} MB and left out of this page: "
            "open data/07_model_output/reconstruct/base.glb and aligned.glb in a viewer of 3D files."
        )
    return {
        "sentences": said,
        **{name: metrics[name] for name in CAMERA},
        "words": MESH_WORDS,
        # Without the time of day, so that the same run gives the same page.
        "meshes": {
            name: base64.b64encode(gzip.compress(report.meshes[name], mtime=0)).decode() for name in MESH_WORDS if small
        },
        "viewer": files("prefpaint.reporting").joinpath("static/viewer.js").read_text(encoding="utf-8"),
    }


def render_report(report: Report) -> str:
    """The whole page as one HTML string: nothing loaded from elsewhere, and no script but the scene's viewer.

    Every metric appears, in the sections where it matters or in the appendix; metrics and figures this
    module does not know are shown under their own names.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("prefpaint.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, signed=signed, percent_range=percent_range)
    environment.globals.update(number=number, signed=signed)
    table, splits = report.table, list(report.table["split"].unique())
    rates = table[(table["quantity"] == "win_rate")].sort_values("best_of", kind="stable")
    return environment.get_template("report.html.jinja").render(
        simulated=report.simulated,
        verdicts=sentences.verdicts(table),
        outside_judge=sentences.OUTSIDE_JUDGE,
        outside_sentences=sentences.outside_sentences(table),
        outside_words=OUTSIDE_WORDS,
        trust_sentences=[
            sentence
            for sentence in (
                *sentences.trust_sentences(table),
                sentences.reward_sentence(report.metrics.get("reward_metrics", {})),
                sentences.bound_sentence(report.metrics.get("bound_metrics", {})),
            )
            if sentence
        ],
        held_out_sentence=sentences.held_out_sentence(report.metrics.get("align_metrics", {})),
        conformal_length=report.metrics.get("bound_metrics", {}).get("test_conformal_length"),
        conformal_level=1 - report.metrics.get("bound_metrics", {}).get("delta", 0),
        watch_sentences=sentences.watch_sentences(report.metrics.get("align_metrics", {})),
        bound_sentences=[
            sentence
            for metrics in [report.metrics.get("bound_metrics", {})]
            for sentence in (sentences.width_sentence(metrics), *sentences.interval_sentences(metrics))
            if sentence
        ],
        worlds_sentence=sentences.worlds_sentence(report.worlds),
        joints_sentence=sentences.joints_sentence(report.metrics.get("extend_metrics", {})),
        second_view_sentence=sentences.second_view_sentence(report.metrics.get("novel_view_metrics", {})),
        second_view=report.metrics.get("novel_view_metrics", {}),
        second_view_rows=_second_view_rows(report.metrics.get("novel_view_metrics", {})),
        scene=_scene(report),
        worlds=report.worlds.to_dict("records"),
        splits=splits,
        split_words=SPLIT_WORDS,
        judge_words=JUDGE_WORDS,
        comparison_words=COMPARISON_WORDS,
        prompts={split: int(pick(table, split=split, pattern=ALL)["prompts"].max()) for split in splits},
        rates={
            split: {
                judge: pick(rates, split=split, pattern=ALL, judge=judge).to_dict("records")
                for judge in JUDGE_WORDS
                if (rates["judge"] == judge).any()
            }
            for split in splits
        },
        pattern_rates={
            split: rates[(rates["split"] == split) & (rates["pattern"] != ALL)].to_dict("records") for split in splits
        },
        beaten_sentences=sentences.beaten_sentences(report.methods),
        sizes=sorted(int(size) for size in table["best_of"].dropna().unique()),
        method_rows={split: _method_rows(report.methods, split) for split in splits},
        method_names=_names(report.methods),
        learned_rows=_learned_rows(report.learned, splits, _names(report.methods)),
        missing_kinds={
            split: [
                kind
                for kind in groups_among(report.methods["pattern"].unique())
                if pick(report.methods, split=split, pattern=kind).empty
            ]
            for split in splits
        },
        offline_words=list(OFFLINE_WORDS.values()),
        offline_rows={split: _offline_rows(report.methods, split) for split in splits},
        edge_sentences=edge_sentences(report.methods),
        edge_rows={split: edge_rows(report.methods, split) for split in splits},
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
        opening=OPENING,
        sanity_rows=_sanity_rows(report.sanity),
        metrics={
            name: {"words": METRICS_WORDS.get(name, plain_words(name)), "rows": metric_rows(values)}
            for name, values in report.metrics.items()
        },
        figures={name: data_uri(png) for name, png in report.figures.items()},
    )
