"""Reading and writing diffusers inpainting checkpoints."""

import json
from collections.abc import Mapping
from hashlib import sha256
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
import transformers
from safetensors import SafetensorError

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.families.registry import family_named, family_of

# The file that tells diffusers or transformers what a component is.
CONFIG_FILES = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
# In a tokenizer's configuration: the texts that a checkpoint was trained with, where they are few. Others it cannot
# read.
TRAINED_TEXTS = "trained_texts"
WEIGHT_ENDINGS = ("*.safetensors", "*.bin")

# A bar per component and file; downloads have bars of their own.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def _local_index(folder: Path) -> dict[str, Any]:
    """What a checkpoint's own index says; diffusers' messages for these cases name a class or a hub address."""
    index = folder / "model_index.json"
    if not index.is_file():
        raise PrefPaintError(f"{index}: is missing; give a folder written by diffusers' save_pretrained")
    try:
        listed = dict(json.loads(index.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PrefPaintError(f"{index}: is damaged ({error}); copy the checkpoint again") from error
    if not isinstance(listed.get("_class_name"), str):
        raise PrefPaintError(f"{index}: names no diffusers class under _class_name; copy the checkpoint again")
    return listed


def _hub_index(hub_id: str) -> dict[str, Any]:
    try:
        return dict(diffusers.DiffusionPipeline.load_config(hub_id))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(f"{hub_id}: cannot be loaded as an inpainting checkpoint ({reason})") from error


def _check_components(folder: Path, listed: Mapping[str, Any], network: str) -> None:
    """Raise for the first file of a component that is missing."""
    components = [
        name for name, origin in listed.items() if isinstance(origin, list) and origin[0] and name != "safety_checker"
    ]
    for name in components:
        part = folder / name
        if not any((part / file).is_file() for file in CONFIG_FILES):
            raise PrefPaintError(f"{part}: its configuration file is missing; copy the checkpoint again")
        has_weights = name in (network, "vae") or name.startswith("text_encoder")
        if has_weights and not any(next(part.glob(ending), None) for ending in WEIGHT_ENDINGS):
            raise PrefPaintError(f"{part}: its weights (*.safetensors) are missing; copy the checkpoint again")
        for shards in part.glob("*.index.json"):
            for file in sorted(set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values())):
                if not (part / file).is_file():
                    raise PrefPaintError(f"{part / file}: is missing; copy the checkpoint again")


def load_pipeline(checkpoint: str | Path) -> Any:
    """Load an inpainting checkpoint of any family in float32 on the CPU, without its safety checker.

    Args:
        checkpoint: a local folder (`Path`, or a string that is one) or a hub id.

    Returns:
        A pipeline of the family's diffusers class.

    Raises:
        PrefPaintError: it is missing, incomplete, damaged, of no supported family, or not for inpainting.
    """
    local = isinstance(checkpoint, Path) or Path(checkpoint).is_dir()
    listed = _local_index(Path(checkpoint)) if local else _hub_index(str(checkpoint))
    family = family_named(str(listed.get("_class_name")), str(checkpoint))
    if local:
        _check_components(Path(checkpoint), listed, family.network_name)
    loads = getattr(diffusers, family.pipelines[0])
    # Not every family's pipeline knows of a safety checker.
    without = {"safety_checker": None} if "safety_checker" in signature(loads.__init__).parameters else {}
    try:
        pipe = loads.from_pretrained(str(checkpoint), dtype=torch.float32, local_files_only=local, **without)
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(f"{checkpoint}: cannot be loaded as an inpainting checkpoint ({reason})") from error
    for name, part in pipe.components.items():
        # Weights that no file has stay without values.
        lacking = [key for key, value in part.named_parameters() if value.is_meta] if is_module(part) else []
        if lacking:
            raise PrefPaintError(f"{checkpoint}: its {name} lacks the weight {lacking[0]}; copy the checkpoint again")
    family_of(pipe)
    return pipe


def is_module(part: Any) -> bool:
    """Whether a component of a pipeline has weights."""
    return isinstance(part, torch.nn.Module)


def save_pipeline(pipe: Any, folder: Path, dtype: Literal["float32", "float16"] = "float32") -> None:
    """Write a pipeline as diffusers does, weights as safetensors.

    Args:
        pipe: any diffusers pipeline; it is left in float32.
        folder: written into.
        dtype: of the weights in the files.
    """
    try:
        pipe.to("cpu", getattr(torch, dtype), silence_dtype_warnings=True)
        pipe.save_pretrained(folder, safe_serialization=True)
    finally:
        pipe.to("cpu", torch.float32)
    # diffusers records where each part was loaded from: a path of this machine, and other bytes on another.
    for file in folder.rglob("*.json"):
        plain = json.loads(file.read_text(encoding="utf-8"))
        if plain.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def module_digest(module: Any) -> str:
    """SHA-256 over the names, shapes, types and values of a torch module's weights, hexadecimal."""
    digest = sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def weights_digest(pipe: Any) -> str:
    """The same over all weights of a pipeline; tells whether two pipelines paint the same."""
    modules = [part for _, part in sorted(pipe.components.items()) if is_module(part)]
    parts = [module_digest(module) for module in modules]
    return sha256(" ".join(parts).encode()).hexdigest()
