"""Reading and writing diffusers inpainting checkpoints."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import diffusers
import torch
import transformers
from diffusers import AutoPipelineForInpainting, StableDiffusionInpaintPipeline
from safetensors import SafetensorError

from prefpaint.errors import PrefPaintError

# The file that tells diffusers or transformers what a component is.
CONFIG_FILES = ("config.json", "scheduler_config.json", "tokenizer_config.json", "preprocessor_config.json")
WEIGHT_ENDINGS = ("*.safetensors", "*.bin")
NEEDS_WEIGHTS = ("unet", "vae", "text_encoder")

# A bar per component and file; downloads have bars of their own.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def _check_folder(folder: Path) -> None:
    """Raise for the first file that the folder's own index lists and that is missing.

    diffusers' own messages for these cases name a class or a hub address instead of the file.
    """
    index = folder / "model_index.json"
    if not index.is_file():
        raise PrefPaintError(f"{index}: is missing; give a folder written by diffusers' save_pretrained")
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PrefPaintError(f"{index}: is damaged ({error}); copy the checkpoint again") from error
    components = [
        name for name, origin in listed.items() if isinstance(origin, list) and origin[0] and name != "safety_checker"
    ]
    for name in components:
        part = folder / name
        if not any((part / file).is_file() for file in CONFIG_FILES):
            raise PrefPaintError(f"{part}: its configuration file is missing; copy the checkpoint again")
        if name in NEEDS_WEIGHTS and not any(next(part.glob(ending), None) for ending in WEIGHT_ENDINGS):
            raise PrefPaintError(f"{part}: its weights (*.safetensors) are missing; copy the checkpoint again")
        for shards in part.glob("*.index.json"):
            for file in sorted(set(json.loads(shards.read_text(encoding="utf-8"))["weight_map"].values())):
                if not (part / file).is_file():
                    raise PrefPaintError(f"{part / file}: is missing; copy the checkpoint again")


def _load(pipeline_class: Any, checkpoint: str | Path) -> Any:
    local = isinstance(checkpoint, Path) or Path(checkpoint).is_dir()
    if local:
        _check_folder(Path(checkpoint))
    try:
        pipe = pipeline_class.from_pretrained(
            str(checkpoint), dtype=torch.float32, safety_checker=None, local_files_only=local
        )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(f"{checkpoint}: cannot be loaded as an inpainting checkpoint ({reason})") from error
    for name, part in pipe.components.items():
        # Weights that no file has stay without values.
        lacking = [key for key, value in part.named_parameters() if value.is_meta] if is_module(part) else []
        if lacking:
            raise PrefPaintError(f"{checkpoint}: its {name} lacks the weight {lacking[0]}; copy the checkpoint again")
    return pipe


def is_module(part: Any) -> bool:
    """Whether a component of a pipeline has weights."""
    return isinstance(part, torch.nn.Module)


def load_pipeline(checkpoint: str | Path) -> StableDiffusionInpaintPipeline:
    """Load a checkpoint in float32 on the CPU, without its safety checker.

    Args:
        checkpoint: a local folder (`Path`, or a string that is one) or a hub id.

    Raises:
        PrefPaintError: it is missing, incomplete, damaged, or not a Stable Diffusion inpainting checkpoint.
    """
    return _load(StableDiffusionInpaintPipeline, checkpoint)


def load_any_pipeline(checkpoint: str | Path) -> Any:
    """Load an inpainting checkpoint of any of diffusers' classes, in float32 on the CPU.

    Args:
        checkpoint: as for `load_pipeline`.

    Raises:
        PrefPaintError: it is missing, incomplete, damaged, or has no inpainting UNet.
    """
    pipe = _load(AutoPipelineForInpainting, checkpoint)
    if getattr(pipe, "unet", None) is None:
        raise PrefPaintError(f"{checkpoint}: is a {type(pipe).__name__}; give an inpainting checkpoint with a UNet")
    check_inpainting(pipe)
    return pipe


def check_inpainting(pipe: Any) -> None:
    """Raise `PrefPaintError` where a pipeline's UNet cannot be told what is known."""
    channels = pipe.unet.config.in_channels
    # Noisy latents, the mask, and the latents of what is known: 9 for Stable Diffusion's.
    wanted = 2 * pipe.vae.config.latent_channels + 1
    if channels != wanted:
        raise PrefPaintError(
            f"{pipe.name_or_path or 'the checkpoint'}: its UNet takes {channels} input channels, an inpainting "
            f"checkpoint's takes {wanted}; give an inpainting checkpoint"
        )


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
