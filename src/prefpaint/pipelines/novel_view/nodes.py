"""Nodes of the `novel_view` pipeline; the work is done in `applications.novel_view`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.applications.novel_view_config import NovelViewConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig


def view_photograph(
    aligned: Any,
    regions: pd.DataFrame,
    photographs: ImageFolder,
    depth_maps: ImageFolder,
    sampling: SamplingConfig,
    config: NovelViewConfig,
) -> ImageWork:
    """What a camera that moves about a photograph sees, frame by frame."""
    from prefpaint.applications.novel_view import choose_photograph, views_work
    from prefpaint.masks.depth import decode_depth

    key = choose_photograph(regions, depth_maps, config.photograph)
    return views_work(aligned, photographs[key], decode_depth(depth_maps[key]), sampling, config)


def animate(frames: ImageFolder) -> tuple[Iterable[np.ndarray], Iterable[np.ndarray]]:
    """The frames in their order, read one by one, for each kind of file."""
    return frames.values(), frames.values()


def compare_stereo(
    base: Any, aligned: Any, sampling: SamplingConfig, config: NovelViewConfig
) -> tuple[dict[str, float | int], Any]:
    """Fills of the motorcycle's left view, seen from the right camera, against what that camera saw."""
    from skimage import data

    from prefpaint.applications import novel_view
    from prefpaint.inpainting.families.registry import native_size
    from prefpaint.inpainting.sampling import Inpainter

    left, right, disparity = data.stereo_motorcycle()
    windows = novel_view.stereo_windows(left, right, disparity, native_size(aligned), config.crops, config.seed)
    inpainters = {"base": Inpainter(base, sampling), "aligned": Inpainter(aligned, sampling)}
    fills = novel_view.fill_stereo(windows, inpainters, config.seed)
    metrics = novel_view.stereo_metrics(windows, fills, config.resamples, config.seed)
    return metrics, novel_view.draw_stereo(windows, fills)
