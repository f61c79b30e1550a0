"""Kinds of inpainting checkpoints, told apart by the diffusers class that a checkpoint says it is of."""

import copy
from typing import Any

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.families.family import Family
from prefpaint.inpainting.families.flux_fill import FluxFill
from prefpaint.inpainting.families.stable_diffusion import StableDiffusion
from prefpaint.inpainting.families.stable_diffusion_3 import StableDiffusion3
from prefpaint.inpainting.families.stable_diffusion_xl import StableDiffusionXL

FAMILIES: tuple[type[Family], ...] = (StableDiffusion, StableDiffusionXL, StableDiffusion3, FluxFill)


def family_named(pipeline: str, checkpoint: str) -> type[Family]:
    """The family of a diffusers class.

    Args:
        pipeline: the class's name.
        checkpoint: whose it is, for the message.

    Raises:
        PrefPaintError: no family has it.
    """
    for family in FAMILIES:
        if pipeline in family.pipelines:
            return family
    known = ", ".join(f"{family.name} ({family.pipelines[0]})" for family in FAMILIES)
    raise PrefPaintError(f"{checkpoint}: is a {pipeline}, which is not supported; give a checkpoint of {known}")


def family_of(pipe: Any) -> Family:
    """The family of a loaded pipeline.

    Raises:
        PrefPaintError: it has none, or its parts are not what the family takes (`Family.check`).
    """
    checkpoint = pipe.name_or_path or "the checkpoint"
    family = family_named(type(pipe).__name__, checkpoint)(pipe)
    family.check()
    return family


def with_network(pipe: Any, network: Any) -> Any:
    """A pipeline that shares everything with another but its network."""
    made = copy.copy(pipe)
    setattr(made, family_of(pipe).network_name, network)
    return made


def native_size(pipe: Any) -> int:
    """Side in pixels of the pictures a checkpoint was trained on."""
    return family_of(pipe).native_size
