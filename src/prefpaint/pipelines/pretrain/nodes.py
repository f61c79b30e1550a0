"""Node of the `pretrain` pipeline; the work is done in `inpainting.pretraining`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.inpainting.config import PretrainConfig
from prefpaint.photographs.config import PhotographsConfig


def pretrain_base_model(
    photographs: ImageFolder,
    depths: ImageFolder,
    regions: pd.DataFrame,
    source: PhotographsConfig,
    config: PretrainConfig,
    workspace: Path,
) -> Any:
    """A small inpainting model that has seen the train regions and nothing else."""
    from prefpaint.inpainting.pretraining import TrainingRegion, pretrain
    from prefpaint.masks.depth import decode_depth
    from prefpaint.photographs.crops import Box

    train = []
    for row in regions[regions["split"] == "train"].itertuples():
        if row.key not in depths:
            raise PrefPaintError(
                f"{depths.file(row.key)}: is missing; pretraining opens view-change holes too, so give "
                "masks.patterns.warp a share above 0 and run `kedro run --pipeline=masks` again"
            )
        box = Box(row.left, row.top, row.right, row.bottom)
        train.append(TrainingRegion(photographs[row.key], decode_depth(depths[row.key]), box))
    return pretrain(train, source.size, config, workspace)
