"""Node of the `judge` pipeline; the work is done in `small_model.judge`."""

from pathlib import Path
from typing import Any

from prefpaint.inpainting.config import SamplingConfig
from prefpaint.small_model.config import JudgeConfig, PretrainConfig


def train_judge(
    base_model: Any, pretrain: PretrainConfig, sampling: SamplingConfig, config: JudgeConfig, workspace: Path
) -> Any:
    """A network that tells photographs from fills of many kinds, the base's own among them."""
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.small_model import judge
    from prefpaint.small_model.examples import Examples, load_photographs

    train, validation = (
        Examples.of(load_photographs(pretrain.photographs / split), pretrain) for split in ("train", "validation")
    )
    return judge.train_judge(Inpainter(base_model, sampling), train, validation, config, workspace)
