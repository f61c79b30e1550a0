"""Nodes of the `masks` pipeline; the work is done in `photographs` and `masks`."""

import logging
from typing import Any

import pandas as pd

from prefpaint.images import ImageFolder, ImageWork
from prefpaint.masks.config import MasksConfig
from prefpaint.photographs.config import PhotographsConfig

log = logging.getLogger(__name__)


def collect_photographs(source: PhotographsConfig) -> ImageWork:
    """Decode every photograph into one folder."""
    from prefpaint.photographs.collection import photograph_work

    return photograph_work(source)


def list_regions(source: PhotographsConfig, photographs: ImageFolder) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The regions each split may use, and which files were skipped."""
    from prefpaint.photographs.collection import photograph_regions

    regions, report = photograph_regions(source, photographs)
    for skipped in report["skipped"]:
        log.warning("skipped %s", skipped["reason"])
    return regions, report


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


def plan_prompts(regions: pd.DataFrame, source: PhotographsConfig, config: MasksConfig) -> pd.DataFrame:
    """Which crop, pattern and seed every prompt has."""
    from prefpaint.masks import collection

    return collection.plan_prompts(regions, source, config)


def make_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> tuple[ImageWork, ImageWork]:
    """The prompts' images and masks."""
    from prefpaint.masks.collection import prompt_work

    return prompt_work(plan, photographs, depths, source.size, config.geometry)


def record_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> pd.DataFrame:
    """The manifest of all prompts."""
    from prefpaint.masks import collection

    return collection.record_prompts(plan, photographs, depths, images, masks, source.size, config.geometry)


def show_prompts(prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder) -> Any:
    """A figure with prompts of every pattern and split."""
    from prefpaint.masks.figures import prompt_figure

    return prompt_figure(prompts, images, masks)
