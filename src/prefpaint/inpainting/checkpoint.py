"""Reading and writing diffusers inpainting checkpoints."""

import json
import math
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
from prefpaint.inpainting.families.family import Family, side_of
from prefpaint.inpainting.families.registry import FAMILIES, family_named, family_of
from prefpaint.inpainting.families.stable_diffusion import StableDiffusion
from prefpaint.inpainting.folder import COPY, INDEX, WEIGHT_NAMES, read_index, read_json, weights_variant
from prefpaint.pretrained import first_line

# In a tokenizer's configuration: the texts that a checkpoint was trained with, where they are few. Others it cannot
# read.
TRAINED_TEXTS = "trained_texts"
# Components that nothing here uses: they look at finished pictures, or at pictures as prompts.
UNUSED = ("safety_checker", "image_encoder", "feature_extractor")
# The file that tells diffusers or transformers what a component without weights is.
CONFIG_FILES = ("scheduler_config.json", "tokenizer_config.json")
# Numbers of a noise schedule that are the network's own: a scheduler's default would be another network's.
BETAS = ("beta_start", "beta_end", "beta_schedule")
# Stable Diffusion's own VAE, whose published configuration has no scaling factor: diffusers' default is its.
UNSCALED_VAE = {"block_out_channels": [128, 256, 512, 512], "latent_channels": 4}

LOADING_ERRORS = (OSError, ValueError, TypeError, RuntimeError, KeyError, AttributeError, ImportError, SafetensorError)

# A bar per component and file; downloads have bars of their own.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


def _hub_folder(hub_id: str) -> Path:
    """Where the files of a hub's checkpoint are, after they were downloaded."""
    hub = {"use_safetensors": True, "safety_checker": None}
    try:
        folder = Path(diffusers.DiffusionPipeline.download(hub_id, **hub))
        if not any(folder.glob("*/*.safetensors")):
            folder = Path(diffusers.DiffusionPipeline.download(hub_id, variant="fp16", **hub))
    except (OSError, ValueError, RuntimeError) as error:
        reason = first_line(error)
        raise PrefPaintError(f"{hub_id}: cannot be loaded as an inpainting checkpoint ({reason})") from error
    return folder


def load_pipeline(checkpoint: str | Path) -> Any:
    """Load an inpainting checkpoint of any family in float32 on the CPU, without its safety checker.

    Args:
        checkpoint: a local folder (`Path`, or a string that is one) or a hub id.

    Returns:
        A pipeline of the family's diffusers class.

    Raises:
        PrefPaintError: it is missing, incomplete, damaged, of no supported family, not for inpainting, has weights that
            are not finite, or numbers that the family does not know.
    """
    local = isinstance(checkpoint, Path) or Path(checkpoint).exists()
    folder = Path(checkpoint) if local else _hub_folder(str(checkpoint))
    listed = read_index(folder)
    family = family_named(str(listed["_class_name"]), str(checkpoint))
    _check_index(folder, listed, family)
    loads = getattr(diffusers, family.pipelines[0])
    taken = _parts_of(family)
    given: dict[str, Any] = {name: None for name in UNUSED if name in taken}
    if "feature_extractor" in given and (folder / "feature_extractor").is_dir():
        del given["feature_extractor"]
    for name, origin in listed.items():
        weighty = name in (family.network_name, "vae") or name.startswith("text_encoder")
        if weighty and name in taken and _is_there(origin):
            given[name] = _module(folder / name, origin)
    try:
        pipe = loads.from_pretrained(str(folder), dtype=torch.float32, local_files_only=True, **given)
    except LOADING_ERRORS as error:
        raise PrefPaintError(
            f"{checkpoint}: cannot be loaded as an inpainting checkpoint ({first_line(error)})"
        ) from error
    pipe.register_to_config(_name_or_path=str(checkpoint))
    family_of(pipe)
    return pipe


def _is_there(origin: Any) -> bool:
    """Whether an index names a library and a class for a component."""
    return isinstance(origin, list) and len(origin) == 2 and all(isinstance(one, str) for one in origin)


def _check_index(folder: Path, listed: Mapping[str, Any], family: type[Family]) -> None:
    """Raise for a component that is missing, is another's, or leaves out a number that diffusers would guess."""
    there, taken = [name for name, origin in listed.items() if _is_there(origin)], _parts_of(family)
    others = {part for one in FAMILIES for part in one.parts}.difference(taken)
    strange = [name for name in there if name in others]
    if strange:
        raise PrefPaintError(
            f"{folder}: its {INDEX} says that it is of {family.name}, which has no {strange[0]}; correct _class_name "
            "there, or copy all parts from one checkpoint"
        )
    for name in family.parts:
        if name not in there:
            raise PrefPaintError(
                f"{folder}: its {INDEX} says that it is of {family.name}, and lists no {name}; correct _class_name "
                "there, or copy all parts from one checkpoint"
            )
    for name in (name for name in there if name in taken and name not in UNUSED):
        part = folder / name
        if name.startswith("tokenizer") or name == "scheduler":
            if not any((part / file).is_file() for file in CONFIG_FILES):
                raise PrefPaintError(f"{part}: its configuration file is missing; {COPY}")
        elif not (part / "config.json").is_file():
            raise PrefPaintError(f"{part}: its configuration file is missing; {COPY}")
    sized = folder / family.sized / "config.json"
    if read_json(sized).get("sample_size") is None:
        unit = "pixels" if family.sized == "vae" else "latents"
        raise PrefPaintError(f"{sized}: has no sample_size; write there the side, in {unit}, of the pictures it paints")
    _check_scheduler(folder / "scheduler" / "scheduler_config.json", family)
    _check_vae(folder / "vae" / "config.json", family)


def _parts_of(family: type[Family]) -> list[str]:
    """Names of the components that a family's diffusers class can have."""
    return list(signature(getattr(diffusers, family.pipelines[0]).__init__).parameters)


def _check_scheduler(file: Path, family: type[Family]) -> None:
    config = read_json(file)
    kind = config.get("_class_name")
    if kind is not None and kind not in family.schedulers:
        raise PrefPaintError(
            f"{file}: is of the class {kind}, whose noise levels are not those of {family.name}; give it "
            f"{family.schedulers[0]}"
        )
    wanted = BETAS if "DDIMScheduler" in family.schedulers else ("shift",)
    lacking = [] if config.get("trained_betas") else [name for name in wanted if config.get(name) is None]
    if lacking:
        raise PrefPaintError(
            f"{file}: has no {lacking[0]}, and diffusers' own is another checkpoint's; write there what this one was "
            "trained with"
        )


def _check_vae(file: Path, family: type[Family]) -> None:
    config = read_json(file)
    default = family.name == StableDiffusion.name and all(
        config.get(name) == value for name, value in UNSCALED_VAE.items()
    )
    if "scaling_factor" not in config and not default:
        raise PrefPaintError(
            f"{file}: has no scaling_factor, and diffusers' own is Stable Diffusion's; write there what this "
            "checkpoint was trained with"
        )


def _module(part: Path, origin: list[str]) -> Any:
    """A component with weights, all of them from its files and finite."""
    library, kind = origin
    if library not in WEIGHT_NAMES:
        raise PrefPaintError(f"{part}: is a {kind} of {library}, which cannot be loaded; give a checkpoint without it")
    loads = getattr(diffusers if library == "diffusers" else transformers, kind, None)
    if loads is None:
        raise PrefPaintError(f"{part}: is a {kind}, which {library} does not have; correct the {INDEX} above it")
    config = read_json(part / "config.json")
    said = config.get("_class_name")
    if said is not None and said != kind:
        raise PrefPaintError(
            f"{part}: is a {said} by its own config.json and a {kind} by the {INDEX} above it; copy all parts from one "
            "checkpoint"
        )
    if "quantization_config" in config:
        raise PrefPaintError(f"{part}: its weights are quantized, which cannot be tuned; give the full checkpoint")
    # Every user of it takes a square, and diffusers compares it with numbers.
    sizes = config.get("sample_size")
    square = {"sample_size": side_of(sizes)} if isinstance(sizes, list) else {}
    try:
        module, loading = loads.from_pretrained(
            str(part),
            variant=weights_variant(part, library),
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            **square,
        )
    except LOADING_ERRORS as error:
        raise PrefPaintError(
            f"{part.parent}: cannot be loaded as an inpainting checkpoint ({part.name}: {first_line(error)}); {COPY}"
        ) from error
    # transformers would draw them at random, and diffusers leave them without values.
    lacking = sorted(loading["missing_keys"])
    if lacking:
        raise PrefPaintError(f"{part.parent}: its {part.name} lacks the weight {lacking[0]}; {COPY}")
    if library == "diffusers" and loading["unexpected_keys"]:
        raise PrefPaintError(
            f"{part}: has the weight {sorted(loading['unexpected_keys'])[0]}, which a {kind} of its config.json has no "
            "place for; copy both from one checkpoint"
        )
    _check_weights(part, module)
    return module


def _check_weights(part: Path, module: Any) -> None:
    """Raise for weights with which everything painted is black, or the same."""
    nothing = True
    for name, values in module.state_dict().items():
        if not values.is_floating_point() or not values.numel():
            continue
        low, high = (float(end) for end in values.aminmax())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise PrefPaintError(
                f"{part.parent}: the weight {name} of its {part.name} is not finite, and fills would be black; give a "
                "checkpoint that was saved before its training failed"
            )
        nothing = nothing and low == high == 0
    if nothing:
        raise PrefPaintError(f"{part.parent}: all weights of its {part.name} are 0; {COPY}")


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
