"""Reading reward weights under the key names of the published code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import ClipBackboneConfig, MLPHeadConfig
from prefpaint.reward.model import RewardModel

HEAD = MLPHeadConfig(
    width=1024,
    heads=16,
    feedforward=1024,
    feature_dropout=0,
    dropout=(0.1, 0.2),
    hidden=512,
    embedding=256,
    activation=False,
    normalise=False,
)
# In the file, but not used for the score: CLIP's text tower, an alias, and a layer that was copied before use.
UNUSED = (
    "clip_model.positional_embedding",
    "clip_model.text_projection",
    "clip_model.logit_scale",
    "clip_model.transformer.",
    "clip_model.token_embedding.",
    "clip_model.ln_final.",
    "mlp.last_layer_weight",
    "vit_block.encoder_layer.",
)
# Published name → transformers' name, inside one layer of the tower.
LAYER = {
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
HEAD_NAMES = {
    "vit_block.transformer_encoder.layers.0.": "heads.0.encoder.",
    "mlp.layers.0.": "heads.0.mlp.0.",
    "mlp.layers.2.": "heads.0.mlp.2.",
    "mlp.last_layer.": "heads.0.psi.",
}
BLOCKS = "clip_model.visual.transformer.resblocks."
PROJECTION = "clip_model.visual.proj"  # stored as (in, out), unlike a linear layer


def read_state_dict(file: Path, wanted: str) -> dict[str, Tensor]:
    """All tensors of a state dict by key in float32, without the prefix that a parallel wrapper adds.

    Nothing in the file is run.

    Args:
        file: .pt or .safetensors.
        wanted: what the file should hold, for the message.

    Raises:
        PrefPaintError: it is missing, damaged, or holds anything but tensors.
    """
    try:
        if file.suffix == ".safetensors":
            weights = load_file(file)
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # garbage read as a pickle raises anything
        reason = "does not exist" if isinstance(error, FileNotFoundError) else "holds no plain tensors, or is damaged"
        raise PrefPaintError(f"{file}: {reason}; give {wanted}'s state dict (.pt or .safetensors)") from error
    values = weights.values() if isinstance(weights, dict) else [None]
    if not all(isinstance(value, Tensor) and value.layout == torch.strided for value in values):
        raise PrefPaintError(f"{file}: is not a state dict; give a dictionary of tensors, not a whole model")
    return {str(key).removeprefix("module."): value.float() for key, value in weights.items()}


def _tower_sizes(file: Path, weights: dict[str, Tensor]) -> dict[str, Any]:
    """Sizes of the CLIP image tower, read off its tensors."""

    def shape(key: str, dimensions: int) -> torch.Size:
        if key not in weights:
            raise PrefPaintError(f"{file}: key {key} is missing; this is not a published reward model")
        found = weights[key].shape
        if len(found) != dimensions or 0 in found:
            raise PrefPaintError(f"{file}: key {key} has shape {tuple(found)}, not {dimensions} dimensions above 0")
        return found

    first = "clip_model.visual.conv1.weight"
    width, _, patch, _ = shape(first, 4)
    if width % 64:
        raise PrefPaintError(f"{file}: key {first} has {width} output channels, not a multiple of 64 as CLIP's towers")
    places = shape("clip_model.visual.positional_embedding", 2)[0]
    layers = {key.removeprefix(BLOCKS).split(".")[0] for key in weights if key.startswith(BLOCKS)}
    return {
        "hidden_size": width,
        "intermediate_size": shape(f"{BLOCKS}0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // 64,
        "image_size": patch * max(1, round(max(0, places - 1) ** 0.5)),
        "patch_size": patch,
        # The embeddings of candidate and prompt side by side are the head's token.
        "projection_dim": HEAD.width // 2,
    }


def _sources(layers: int) -> Iterator[tuple[str, str, int | None]]:
    """(our name, published key, third of the stacked query-key-value rows or None) of every weight."""
    visual, tower = "clip_model.visual.", "backbone.tower.vision_model."
    yield f"{tower}embeddings.class_embedding", f"{visual}class_embedding", None
    yield f"{tower}embeddings.patch_embedding.weight", f"{visual}conv1.weight", None
    yield f"{tower}embeddings.position_embedding.weight", f"{visual}positional_embedding", None
    yield "backbone.tower.visual_projection.weight", PROJECTION, None
    for ours, theirs in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        for part in ("weight", "bias"):
            yield f"{tower}{ours}.{part}", f"{visual}{theirs}.{part}", None
    for layer in range(layers):
        ours = f"{tower}encoder.layers.{layer}."
        for part in ("weight", "bias"):
            for third, name in enumerate("qkv"):
                yield f"{ours}self_attn.{name}_proj.{part}", f"{BLOCKS}{layer}.attn.in_proj_{part}", third
            for theirs, name in LAYER.items():
                yield f"{ours}{name}.{part}", f"{BLOCKS}{layer}.{theirs}.{part}", None


def load_published(file: Path) -> RewardModel:
    """Our reward model with the weights of a published one.

    Args:
        file: state dict of the published code, any size of CLIP tower; `.safetensors`, or else what `torch.save`
            wrote, from which only tensors are unpickled.

    Returns:
        The model in evaluation mode, float32.

    Raises:
        PrefPaintError: the file cannot be read, or a key is missing, unknown, of the wrong shape or not finite.
    """
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    weights = read_state_dict(file, "the published reward")
    sizes = _tower_sizes(file, weights)
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, hidden_act="quick_gelu"))
    model = RewardModel(ClipBackboneConfig(checkpoint=str(file.name)), HEAD, tower=tower)
    expected = model.state_dict()
    sources = list(_sources(sizes["num_hidden_layers"]))
    for name in expected:
        for theirs, ours in HEAD_NAMES.items():
            if name.startswith(ours):
                sources.append((name, theirs + name.removeprefix(ours), None))
    found: dict[str, Tensor] = {}
    for name, key, third in sources:
        if key not in weights:
            raise PrefPaintError(f"{file}: key {key} is missing; this is not a published reward model")
        value, wanted = weights[key], tuple(expected[name].shape)
        if third is not None:
            wanted = (3 * wanted[0], *wanted[1:])
        if key == PROJECTION:
            wanted = wanted[::-1]
        if tuple(value.shape) != wanted:
            raise PrefPaintError(f"{file}: key {key} has shape {tuple(value.shape)}, not {wanted}")
        if not value.isfinite().all():
            raise PrefPaintError(f"{file}: key {key} holds NaN or infinity; get the file again")
        value = value.T if key == PROJECTION else value
        found[name] = (value if third is None else value.chunk(3)[third]).contiguous()
    used = {key for _, key, _ in sources}
    unknown = [key for key in weights if key not in used and not key.startswith(UNUSED)]
    if unknown:
        raise PrefPaintError(f"{file}: key {unknown[0]} is unknown; this is not a published reward model")
    model.load_state_dict({**expected, **found})
    return model.eval()
