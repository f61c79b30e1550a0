"""The model card of an aligned checkpoint, in the form of the Hugging Face hub, from the run's own artefacts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.modes import MODES
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reporting.sentences import (
    OUTSIDE_JUDGE,
    beaten_sentences,
    held_out_sentence,
    outside_sentences,
    verdicts,
    watch_sentences,
)
from prefpaint.reporting.wording import number, percent

AGREEMENT = (
    ("alpha_score", "Krippendorff's α of the score"),
    ("rank_agreement", "two raters order two candidates alike"),
    ("ceiling_spearman_test", "noise ceiling estimated from the ratings, Spearman, test"),
)


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Attributes:
        base: hub id, or name of the folder, of the base checkpoint.
        pipeline: diffusers class that loads it.
        size: side of its pictures, pixels.
        stock_call: arguments with which diffusers' own call paints the chain that was judged; None where it cannot.
        simulated: whether the raters are simulated.
        align: configuration of the alignment.
        sampling: the denoising chain that was judged.
        photographs: table with photograph, source.
        prompts: table with split and pattern.
        table, methods: of `measures.measure` and `methods.compare_methods`.
        metrics: flat metrics by dataset name: preferences, reward, bound, align, evaluate.
    """

    base: str
    pipeline: str
    size: int
    stock_call: Mapping[str, Any] | None
    simulated: bool
    align: AlignConfig
    sampling: SamplingConfig
    photographs: pd.DataFrame
    prompts: pd.DataFrame
    table: pd.DataFrame
    methods: pd.DataFrame
    metrics: Mapping[str, Mapping[str, Any]]


def base_license(base: str) -> str | None:
    """The licence in the front matter of a checkpoint's own card.

    Args:
        base: folder or hub id.

    Returns:
        Empty if the card states none or there is no card; None if it could not be looked up, as without a network.

    Raises:
        PrefPaintError: the card cannot be read.
    """
    from huggingface_hub import hf_hub_download, metadata_load
    from huggingface_hub.errors import (
        HFValidationError,
        RemoteEntryNotFoundError,
    )

    card = Path(base) / "README.md"
    if not Path(base).is_dir():
        try:
            card = Path(hf_hub_download(base, "README.md"))
        except RemoteEntryNotFoundError:
            return ""
        except (OSError, HFValidationError):
            return None
    if not card.is_file():
        return ""
    try:
        return str((metadata_load(card) or {}).get("license") or "")
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise PrefPaintError(f"{card}: cannot be read as a model card ({reason}); correct its front matter") from error


def _quality(metrics: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str]]:
    reward, bound = metrics["reward"], metrics["bound"]
    truth = "noiseless" if "test_noiseless_pair_accuracy" in reward else "ratings"
    against = {"noiseless": "the noiseless simulated rater", "ratings": "the raters' mean"}[truth]
    rows: list[tuple[str, str]] = []

    def add(source: Mapping[str, Any], key: str, words: str, form: Any) -> None:
        if key in source:
            ends = [source.get(f"{key}_{end}") for end in ("low", "high")]
            interval = "" if None in ends else f" [{form(ends[0])}, {form(ends[1])}]"
            rows.append((form(source[key]) + interval, words))

    add(reward, f"test_{truth}_pair_accuracy", f"pairs of a test prompt ordered as by {against}", percent)
    add(reward, f"test_{truth}_spearman", f"Spearman with {against}, test candidates", number)
    add(bound, "test_spearman_width_error", "Spearman of trust width and error, test candidates", number)
    add(bound, "test_bound_half_width", "proved bound, to either side, score units", number)
    add(bound, f"test_bound_coverage_{truth}", "test candidates inside it", percent)
    add(bound, "test_conformal_length", "split-conformal interval, end to end, score units", number)
    add(bound, "test_conformal_coverage_ratings", "test ratings inside it", percent)
    return rows


def _training(facts: Facts) -> str:
    """How the model was trained, and how what training raises or lowers changed."""
    config, align = facts.align, facts.metrics["align"]
    mode = MODES[config.mode]
    first, last = (number(align[f"{mode.objective}_{part}_fifth"]) for part in ("first", "last"))
    raised = [f"`{name}` ({reward.kind}, weight {reward.weight:g})" for name, reward in config.rewards.items()]
    said = "" if config.learned_alone else f" Raised, combined by {config.combine}: {', '.join(raised)}."
    return (
        f"Mode `{config.mode}`, seed {config.seed}, {align['iterations']} iterations, "
        f"{number(align['network_evaluations'])} network evaluations; {mode.objective_words} {first} in the first "
        f"fifth, {last} in the last.{said}"
    )


def model_card(facts: Facts, license_name: str | None) -> str:
    """README.md of the checkpoint's folder: front matter for the hub, then what a user must know.

    Args:
        facts: of the run.
        license_name: of `base_license`.
    """
    from huggingface_hub import EvalResult, ModelCardData
    from jinja2 import Environment, PackageLoader, StrictUndefined

    said = verdicts(facts.table)
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="inpainting",
            dataset_type=f"prefpaint-{one.split}",
            dataset_name=f"PrefPaint prompts, {one.split}",
            metric_type="win_rate",
            metric_name="win rate against the base, S = 1",
            metric_value=round(one.value, 6),
        )
        for one in said
    ]
    name = "prefpaint-aligned"
    data = ModelCardData(
        license=license_name or None,
        base_model=facts.base if "/" in facts.base else None,
        library_name="diffusers",
        pipeline_tag="image-to-image",
        tags=["inpainting", "outpainting", "preference-alignment", "prefpaint"],
        model_name=name,
        eval_results=results,
    )
    environment = Environment(
        loader=PackageLoader("prefpaint.reporting"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(number=number)
    align = facts.metrics["align"]
    watched = watch_sentences(align)
    splits = facts.prompts["split"].value_counts()
    return environment.get_template("card.md.jinja").render(
        card_data=data.to_yaml(),
        name=name,
        base=facts.base,
        simulated=facts.simulated,
        size=facts.size,
        pipeline=facts.pipeline,
        stock_call=facts.stock_call,
        license=license_name,
        sampling=facts.sampling,
        texts=[repr(text) for text in (facts.sampling.text_prompt, facts.sampling.negative_text_prompt)],
        held_out=held_out_sentence(align),
        verdicts=[one.sentence for one in said],
        judge="the simulated raters' noiseless score (0 to 7)"
        if facts.simulated
        else "the learned reward, an upper limit",
        beaten=beaten_sentences(facts.methods),
        outside_judge=OUTSIDE_JUDGE,
        outside=outside_sentences(facts.table),
        photographs=sorted(facts.photographs["photograph"].unique()),
        sources=sorted(facts.photographs["source"].unique()),
        prompts={split: int(splits[split]) for split in sorted(splits.index)},
        patterns=[f"`{pattern}`" for pattern in sorted(facts.prompts["pattern"].unique())],
        preferences=facts.metrics["preferences"],
        agreement=AGREEMENT,
        quality=_quality(facts.metrics),
        raises_reward=MODES[facts.align.mode].raises_reward and facts.align.raises_learned,
        raises_others=any(reward.kind != "learned" for reward in facts.align.rewards.values()),
        training=_training(facts),
        watch=watched[-1][:1].lower() + watched[-1][1:] if watched else "this run was not checked for that.",
    )
