"""Node of the `pretrain` pipeline; the work is done in `small_model`."""

from pathlib import Path
from typing import Any

from prefpaint.small_model.config import PretrainConfig


def pretrain_base_model(config: PretrainConfig, workspace: Path) -> Any:
    """A small inpainting model that has seen the train photographs and nothing else."""
    from prefpaint.small_model.examples import load_photographs
    from prefpaint.small_model.pretrain import pretrain

    return pretrain(load_photographs(config.photographs / "train"), config, workspace)
