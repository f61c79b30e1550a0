"""A look at prompts."""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prefpaint.images import ImageFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PER_CELL = 2
COLUMNS = 8
HOLE_GREY = 128


def show_hole(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The prompt as a painter sees it: mid-grey where pixels are missing; (H, W, 3) uint8 in and out."""
    return np.where(mask[..., None] > 0, np.uint8(HOLE_GREY), image)


def prompt_figure(prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder) -> "Figure":
    """A grid of the first prompts of every pattern and split.

    Args:
        prompts: the manifest.
        images, masks: of the prompts.
    """
    from matplotlib.figure import Figure

    shown = prompts.groupby(["split", "pattern"], sort=True).head(PER_CELL).sort_values(["split", "pattern"])
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(COLUMNS * 1.35, rows * 1.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, row in zip(axes, shown.itertuples(), strict=False):
        axis.imshow(show_hole(images[row.prompt_id], masks[row.prompt_id]), interpolation="nearest")
        axis.set_title(f"{row.split}\n{row.pattern}", fontsize=7)
    return figure
