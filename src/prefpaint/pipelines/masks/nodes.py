"""Nodes of the `masks` pipeline; the work is done in `photographs` and `masks`."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.errors import printable
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.masks.config import MasksConfig
from prefpaint.photographs.config import PhotographsConfig

log = logging.getLogger(__name__)

# Skipped files that are named in the log.
SAID = 20


def collect_photographs(source: PhotographsConfig) -> ImageWork:
    """Decode every photograph into one folder."""
    from prefpaint.photographs.collection import photograph_work

    return photograph_work(source)


def collect_holes(source: PhotographsConfig, photographs: ImageFolder) -> ImageWork:
    """Decode the user's own masks into one folder."""
    from prefpaint.photographs.own_holes import hole_work

    return hole_work(source, photographs)


def list_regions(
    source: PhotographsConfig, photographs: ImageFolder, holes: ImageFolder
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The regions each split may use, the user's holes and words, and what was skipped."""
    from prefpaint.photographs.collection import photograph_regions
    from prefpaint.photographs.own_holes import annotation_table
    from prefpaint.photographs.sources import count_files

    regions, report = photograph_regions(source, photographs)
    annotations, unused = annotation_table(source, regions, photographs, holes)
    if source.annotated:
        report |= {"masks": int((annotations["annotation"] != "").sum()), "skipped": [*report["skipped"], *unused]}
    for skipped in report["skipped"][:SAID]:
        log.warning("skipped %s", printable(skipped["reason"]))
    if len(report["skipped"]) > SAID:
        log.warning("and %d more; data/08_reporting/photographs.json lists them", len(report["skipped"]) - SAID)
    if report.get("others"):
        log.warning("%s: skipped %s", source.folder, printable(count_files(report["others"])))
    return regions, annotations, report


def estimate_depth(
    regions: pd.DataFrame,
    plan: pd.DataFrame,
    photographs: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> ImageWork:
    """One depth map per photograph that has a prompt."""
    from prefpaint.masks.collection import depth_work

    return depth_work(regions, plan, photographs, source, config)


def plan_prompts(
    regions: pd.DataFrame,
    annotations: pd.DataFrame,
    photographs: ImageFolder,
    holes: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
    workspace: Path,
) -> pd.DataFrame:
    """Which crop, pattern, words and seed every prompt has."""
    from prefpaint.masks import collection
    from prefpaint.masks.captions import captioned

    plan = collection.plan_prompts(regions, annotations, holes, source, config)
    return captioned(plan, photographs, config.captions, workspace)


def make_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    holes: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> tuple[ImageWork, ImageWork]:
    """The prompts' images and masks."""
    from prefpaint.masks.collection import prompt_work

    return prompt_work(plan, photographs, depths, holes, source.shape, config.geometry)


def record_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    holes: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> pd.DataFrame:
    """The manifest of all prompts."""
    from prefpaint.masks import collection

    return collection.record_prompts(plan, photographs, depths, holes, images, masks, source.shape, config.geometry)


def show_prompts(prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder) -> Any:
    """A figure with prompts of every pattern and split."""
    from prefpaint.masks.figures import prompt_figure

    return prompt_figure(prompts, images, masks)
