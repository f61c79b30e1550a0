"""Nodes of the `candidates` pipeline; the work is done in `inpainting`."""

from typing import Any

import pandas as pd

from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.candidates import CandidatesConfig
from prefpaint.inpainting.config import SamplingConfig


def paint_candidates(
    pipe: Any,
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    sampling: SamplingConfig,
    config: CandidatesConfig,
) -> ImageWork:
    """Several inpaintings of every rated prompt."""
    from prefpaint.inpainting.candidates import candidate_work

    return candidate_work(pipe, prompts, images, masks, sampling, config)


def record_candidates(prompts: pd.DataFrame, painted: ImageFolder, config: CandidatesConfig) -> pd.DataFrame:
    """Seeds and checksums of all candidates."""
    from prefpaint.inpainting import candidates

    return candidates.record_candidates(prompts, painted, config)


def show_candidates(
    prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder, candidates: pd.DataFrame, painted: ImageFolder
) -> Any:
    """A figure with prompts and their candidates."""
    from prefpaint.inpainting.candidates import candidate_figure

    return candidate_figure(prompts, images, masks, candidates, painted)
