"""Nodes of the `extend` pipeline; the work is done in `applications.extend`."""

from typing import Any

import pandas as pd

from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig


def extend_pictures(
    aligned: Any, prompts: pd.DataFrame, images: ImageFolder, sampling: SamplingConfig, config: ExtendConfig
) -> tuple[ImageWork, dict[str, float | int], Any]:
    """Widened pictures, how visible their joints are, and a figure."""
    from hashlib import sha256

    from prefpaint.applications import extend
    from prefpaint.config import fingerprint
    from prefpaint.inpainting.sampling import Inpainter

    names = extend.choose_pictures(prompts, config.images)
    found = extend.extend_pictures(Inpainter(aligned, sampling), names, images, config)
    painted = {name: one.images[0] for name, one in found.items()}
    stamp = fingerprint({name: sha256(image.tobytes()).hexdigest() for name, image in painted.items()})
    work = ImageWork(stamp, names, lambda missing: ((name, painted[name]) for name in missing))
    return work, extend.extend_metrics(found), extend.draw_extended(found, images)
