"""What one pass of each network costs, counted on tensors without memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from prefpaint.inpainting.chain import Levels
from prefpaint.inpainting.families.family import Condition, Family
from prefpaint.inpainting.families.registry import family_named
from prefpaint.rehearsal.architectures import Base, Part, on_meta, parameters


@dataclass(frozen=True)
class Costs:
    """Floating-point operations of one pass for one picture; a multiplication and an addition count as two.

    Attributes:
        network: of the network that predicts.
        encode, decode: of the autoencoder.
        tower: of the reward's image tower.
        weights: of the network.
        other_weights: of the rest of the checkpoint.
    """

    network: float
    encode: float
    decode: float
    tower: float
    weights: int
    other_weights: int


def count(work: Any, *given: Any, **named: Any) -> float:
    """Operations of a call on meta tensors."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work(*given, **named)
    return float(counter.get_total_flops())


def costs(base: Base, size: int, clip: Part) -> Costs:
    """Count a base checkpoint's passes and those of the reward's tower.

    Args:
        base: its architecture.
        size: side of the pictures in pixels.
        clip: the CLIP whose image tower is the reward's.
    """
    parts = {name: on_meta(part) for name, part in base.parts.items()}
    kind = family_named(base.pipeline, base.pipeline)
    factor = 2 ** (len(parts["vae"].config.block_out_channels) - 1)
    config = SimpleNamespace(requires_aesthetics_score=False)
    family = kind(SimpleNamespace(**parts, config=config, vae_scale_factor=factor))
    network = parts[kind.network_name]
    shape = (1, family.channels, size // factor, size // factor)
    with torch.device("meta"):
        latents, pixels = torch.zeros(shape, dtype=torch.bfloat16), torch.zeros(1, 3, size, size, dtype=torch.bfloat16)
        holes = torch.zeros(1, 1, size, size, dtype=torch.bfloat16)
        condition = family.condition(holes, latents)
        time = torch.full((1,), 500.0, dtype=torch.bfloat16)
        passed = count(_predict, family, network, latents, time, condition, _texts(base, parts))
        vision = on_meta(clip).vision_model
        side = vision.config.image_size
        tower = count(vision, pixel_values=torch.zeros(1, 3, side, side, dtype=torch.bfloat16))
    return Costs(
        network=passed,
        encode=count(parts["vae"].encode, pixels),
        decode=count(parts["vae"].decode, latents),
        tower=tower,
        weights=parameters(network),
        other_weights=sum(parameters(part) for name, part in parts.items() if part is not network),
    )


def _predict(
    family: Family,
    network: Any,
    latents: torch.Tensor,
    time: torch.Tensor,
    condition: Condition,
    text: Mapping[str, torch.Tensor],
) -> None:
    family.predict(network, latents, Levels(time, time, time), condition, text, 1.0)


def _texts(base: Base, parts: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """What text encoders give, without values."""

    def empty(*shape: int) -> torch.Tensor:
        return torch.zeros(1, *shape, dtype=torch.bfloat16, device="meta")

    first = parts["text_encoder"].config.hidden_size
    if "text_encoder_2" not in parts:
        return {"encoder_hidden_states": empty(base.words, first)}
    second = parts["text_encoder_2"].config
    if second.model_type == "t5":
        return {"encoder_hidden_states": empty(base.words, second.d_model), "pooled_projections": empty(first)}
    states = empty(base.words, first + second.hidden_size)
    return {"encoder_hidden_states": states, "text_embeds": empty(second.projection_dim)}
