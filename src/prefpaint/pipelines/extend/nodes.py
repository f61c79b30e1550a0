"""Nodes of the `extend` pipeline; the work is done in `applications.extend`."""

from typing import Any

import pandas as pd

from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig


def gather_pictures(prompts: pd.DataFrame, images: ImageFolder, config: ExtendConfig) -> ImageWork:
    """The pictures that are to be widened."""
    from prefpaint.applications.extend_collection import originals_work

    return originals_work(prompts, images, config)


def extend_pictures(
    aligned: Any,
    originals: ImageFolder,
    reward_model: Any,
    choice_errors: dict[str, Any],
    sampling: SamplingConfig,
    config: ExtendConfig,
) -> ImageWork:
    """The extended pictures."""
    from prefpaint.applications.best import Chooser
    from prefpaint.applications.extend_collection import extend_work
    from prefpaint.trust.choice import read_choice_errors

    return extend_work(aligned, originals, sampling, config, Chooser(reward_model, read_choice_errors(choice_errors)))


def measure_joints(
    aligned: Any, originals: ImageFolder, extended: ImageFolder, config: ExtendConfig
) -> tuple[dict[str, float | int], Any]:
    """How visible the joints are, and a figure."""
    from prefpaint.applications.extend_collection import draw_extended, extend_metrics, find_joints
    from prefpaint.inpainting.families.registry import family_of

    found = find_joints(originals, extended, family_of(aligned), config)
    return extend_metrics(list(found.values())), draw_extended(originals, extended, found)
