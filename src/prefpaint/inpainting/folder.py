"""What lies at a path that is given as a checkpoint, and what to say where it is none."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefpaint.errors import PrefPaintError

INDEX = "model_index.json"
# What files of weights are called without their ending, by the library that wrote them.
WEIGHT_NAMES = {"diffusers": "diffusion_pytorch_model", "transformers": "model"}
# Of several precisions of the same weights: which is read, the first that there is. None is the plain one.
PRECISIONS = (None, "fp32", "bf16", "fp16")
PICKLED = (".bin", ".ckpt", ".pt", ".pth")
COPY = "copy the checkpoint again"
SAVE = "save_pretrained('FOLDER', safe_serialization=True)"
GIT_LFS = b"version https://git-lfs"
# The diffusers class of a file that holds a whole checkpoint, by what diffusers takes it for.
SINGLE_FILES = {
    "inpainting": "StableDiffusionInpaintPipeline",
    "inpainting_v2": "StableDiffusionInpaintPipeline",
    "xl_inpaint": "StableDiffusionXLInpaintPipeline",
    "flux-fill": "FluxFillPipeline",
}


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        PrefPaintError: the file is missing or holds no object.
    """
    if not file.is_file():
        raise PrefPaintError(f"{file}: is missing; {COPY}")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise PrefPaintError(f"{file}: is damaged ({error}); {COPY}") from error


def read_index(folder: Path) -> dict[str, Any]:
    """What a checkpoint's own index says.

    Raises:
        PrefPaintError: there is none, with what the path is instead; or it says nothing.
    """
    index = folder / INDEX
    if not index.is_file():
        raise PrefPaintError(_no_checkpoint(folder))
    listed = read_json(index)
    if not isinstance(listed.get("_class_name"), str):
        raise PrefPaintError(f"{index}: names no diffusers class under _class_name; {COPY}")
    return listed


def _no_checkpoint(path: Path) -> str:
    """What a path without an index is, and what to give instead."""
    if path.is_file():
        return _single_file(path)
    plain = f"{path / INDEX}: is missing; give a folder written by diffusers' save_pretrained"
    if not path.is_dir():
        return plain
    if not any(path.iterdir()):
        return f"{path / INDEX}: is missing, the folder is empty; give one written by diffusers' save_pretrained"
    if (path / "adapter_config.json").is_file() or any(path.glob("*lora*.safetensors")):
        return _adapter(path)
    if (path.parent / INDEX).is_file():
        return f"{path}: is one part of a checkpoint; give the folder {path.parent}"
    within = sorted([*path.glob(f"*/{INDEX}"), *path.glob(f"snapshots/*/{INDEX}")])
    if within:
        return f"{path}: holds a checkpoint and is none; give the folder {within[0].parent}"
    if (path / "config.json").is_file():
        kind = read_json(path / "config.json").get("_class_name", "model")
        return f"{path}: is a {kind} alone; give the folder of a whole checkpoint, which has a {INDEX}"
    singles = sorted(file for file in path.iterdir() if file.suffix in (".safetensors", *PICKLED))
    if singles:
        return _single_file(singles[0])
    return plain


def _adapter(path: Path) -> str:
    return (
        f"{path}: is a LoRA adapter and no checkpoint; merge it into its base with diffusers "
        f"(pipe.load_lora_weights('{path}'); pipe.fuse_lora(); pipe.unload_lora_weights(); pipe.{SAVE}) and give "
        "that folder"
    )


def _single_file(path: Path) -> str:
    """What to do with a checkpoint of one file: diffusers takes the rest of it, such as tokenizers, from its hub."""
    for folder in (path.parent, path.parent.parent):
        if (folder / INDEX).is_file():
            return f"{path}: is one file of a checkpoint; give the folder {folder}"
    if path.suffix not in (".safetensors", *PICKLED):
        return f"{path}: is a file; give a folder written by diffusers' save_pretrained"
    if is_git_lfs(path):
        return f"{path}: is a pointer of Git LFS and no weights; run `git lfs pull` where it comes from"
    kind = "StableDiffusionInpaintPipeline"
    if path.suffix == ".safetensors":
        try:
            shapes = _shapes(path)
        except Exception as error:
            return f"{path}: is damaged ({str(error).splitlines()[0]}); {COPY}"
        if any("lora" in name for name in shapes):
            return _adapter(path)
        from diffusers.loaders.single_file_utils import infer_diffusers_model_type

        found = infer_diffusers_model_type(shapes)
        # diffusers takes for Stable Diffusion 1 what it does not know.
        if "model.diffusion_model.input_blocks.0.0.weight" in shapes and found not in SINGLE_FILES:
            channels = shapes["model.diffusion_model.input_blocks.0.0.weight"].shape[1]
            return (
                f"{path}: is a single file whose network takes {channels} input channels instead of 9; give an "
                "inpainting checkpoint, as a folder"
            )
        kind = SINGLE_FILES.get(found, kind)
    return (
        f"{path}: is a single file; make a folder of it once, where there is a network, with diffusers "
        f"({kind}.from_single_file('{path}').{SAVE}) and give that folder"
    )


def _shapes(path: Path) -> dict[str, Any]:
    """Tensors of a file without their values."""
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: torch.empty(file.get_slice(name).get_shape(), device="meta") for name in file.offset_keys()}


def is_git_lfs(file: Path) -> bool:
    """Whether a file only says where Git LFS has its content."""
    with file.open("rb") as opened:
        return opened.read(len(GIT_LFS)) == GIT_LFS


def weights_variant(part: Path, library: str) -> str | None:
    """Which of a component's files of weights to read, as diffusers' `variant`.

    Args:
        part: the component's folder.
        library: `diffusers` or `transformers`.

    Raises:
        PrefPaintError: it has no weights as safetensors, lacks some of their files, or has several variants of which
            none is plain.
    """
    name = WEIGHT_NAMES[library]
    files = [file.name for file in part.iterdir()]
    found: dict[str | None, str] = {}
    for file in sorted(files):
        single = re.fullmatch(rf"{name}(?:\.([^.]+))?\.safetensors", file)
        index = re.fullmatch(rf"{name}\.safetensors\.index(?:\.([^.]+))?\.json", file)
        shard = re.fullmatch(rf"{name}(?:\.[^.]+)?-\d+-of-\d+\.safetensors", file)
        match = index or (None if shard else single)
        if match:
            found.setdefault(match[1], file)
    variants: list[str | None] = [one for one in PRECISIONS if one in found] or sorted(found, key=str)
    if not variants:
        raise PrefPaintError(f"{part}: {_lacking(part, name, files)}")
    if variants[0] not in PRECISIONS and len(variants) > 1:
        raise PrefPaintError(
            f"{part}: has weights in several variants ({', '.join(map(str, variants))}); leave the wanted one there, "
            f"as {name}.safetensors"
        )
    chosen = part / found[variants[0]]
    shards = [chosen.name]
    if chosen.suffix == ".json":
        listed = read_json(chosen).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise PrefPaintError(f"{chosen}: is damaged (it lists no weights); {COPY}")
        shards = sorted(set(listed.values()))
    for one in (part / shard for shard in shards):
        if not one.is_file():
            raise PrefPaintError(f"{one}: is missing; {COPY}")
        if is_git_lfs(one):
            raise PrefPaintError(f"{one}: is a pointer of Git LFS and no weights; run `git lfs pull`")
    return variants[0]


def _lacking(part: Path, name: str, files: Sequence[str]) -> str:
    """Why a folder has no weights that can be read, and what to do."""
    others = sorted(file for file in files if file.endswith(".safetensors"))
    if any(re.fullmatch(r".*-\d+-of-\d+\.safetensors", file) for file in others):
        return f"the index of its weights ({name}.safetensors.index.json) is missing; {COPY}"
    if others:
        return f"its weights are called {others[0]}; rename them to {name}.safetensors"
    if any(file.endswith(PICKLED) for file in files):
        return (
            "its weights are pickled (.bin), and PrefPaint reads *.safetensors alone; convert the checkpoint once with "
            f"diffusers (DiffusionPipeline.from_pretrained('{part.parent}').{SAVE}) and give that folder"
        )
    return f"its weights (*.safetensors) are missing; {COPY}"
