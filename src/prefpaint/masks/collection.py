"""A collection of prompts: planned, made one by one from their own seeds, then recorded."""

import json
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.masks.config import MaskConfig, MasksConfig
from prefpaint.masks.depth import checkpoint_depth, decode_depth, depth_from_disparity, encode_depth, pseudo_depth
from prefpaint.masks.prompts import Prompt, make_prompt, prompt_patterns
from prefpaint.photographs.collection import measured_disparities
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.crops import Box, cut, cut_map, sample_crop
from prefpaint.progress import Progress

# Which region of the photographs each prompt split is cut from.
REGION_OF = {"train": "train", "validation": "validation", "test": "test", "seen": "train", "unseen": "unseen"}


def depth_work(
    regions: pd.DataFrame, photographs: ImageFolder, source: PhotographsConfig, config: MasksConfig
) -> ImageWork:
    """Depth maps of all photographs, as `encode_depth` writes them.

    Measured where somebody measured it, else from the configured checkpoint, else `pseudo_depth`. None at
    all when no prompt is a warp.

    Args:
        regions: as `photographs.collection.photograph_regions` lists them.
        photographs: decoded.
        source: of the photographs.
        config: patterns and depth checkpoint.
    """
    known = regions.drop_duplicates("key")
    names = dict(zip(known["key"], known["photograph"], strict=True)) if config.patterns.get("warp", 0) > 0 else {}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        measured = measured_disparities(source)
        checkpoint = config.geometry.depth_checkpoint
        estimate = checkpoint_depth(checkpoint) if checkpoint else pseudo_depth
        with Progress("estimate depth", len(missing)) as progress:
            for key in missing:
                disparity = measured.get(names[key])
                depth = estimate(photographs[key]) if disparity is None else depth_from_disparity(disparity)
                yield key, encode_depth(depth)
                progress.step()

    stamp = [f"{key} {checksum}" for key, checksum in zip(known["key"], known["sha256"], strict=True)]
    return ImageWork(fingerprint(stamp, config.geometry.depth_checkpoint), list(names), produce)


def plan_prompts(regions: pd.DataFrame, source: PhotographsConfig, config: MasksConfig) -> pd.DataFrame:
    """Which crop of which photograph every prompt is, and its pattern.

    The photographs of a split take turns in a seeded order, so that each gives as many prompts as any other.

    Args:
        regions: as `photographs.collection.photograph_regions` lists them.
        source: sides of the crops.
        config: prompts per split and pattern.

    Returns:
        Columns prompt_id, source, photograph, key, sha256 (of the photograph), split, pattern, left, top,
        right, bottom, seed.

    Raises:
        PrefPaintError: a split has no photograph.
    """
    rows = []
    for split, count in config.prompts.items():
        usable = regions[regions["split"] == REGION_OF[split]].sort_values("key").to_dict("records")
        if not usable:
            raise PrefPaintError(f"photographs.split: no photograph for {REGION_OF[split]}; give more photographs")
        patterns = prompt_patterns(count, config.patterns, derive_seed("patterns", config.seed, split))
        turns = np.random.default_rng(derive_seed("photographs", config.seed, split)).permutation(len(usable))
        for index, pattern in enumerate(patterns):
            region = usable[turns[index % len(usable)]]
            seed = derive_seed("prompt", config.seed, split, index)
            whole = Box(region["left"], region["top"], region["right"], region["bottom"])
            box = sample_crop(whole, source.crop_side, np.random.default_rng(derive_seed("crop", seed)))
            rows.append(
                {
                    "prompt_id": f"{split}_{index:05d}",
                    **{name: region[name] for name in ("source", "photograph", "key", "sha256")},
                    "split": split,
                    "pattern": pattern,
                    **{side: getattr(box, side) for side in ("left", "top", "right", "bottom")},
                    "seed": seed,
                }
            )
    return pd.DataFrame(rows)


def _make(
    plan: pd.DataFrame,
    keys: Sequence[str],
    photographs: ImageFolder,
    depths: ImageFolder,
    size: int,
    config: MaskConfig,
    title: str,
) -> Iterator[tuple[str, Prompt]]:
    """Prompts, grouped by photograph so that each photograph is decoded once and only one is held."""
    chosen = plan[plan["prompt_id"].isin(set(keys))]
    with Progress(title, len(chosen)) as progress:
        for key, group in chosen.groupby("key", sort=True):
            image = photographs[str(key)]
            depth = decode_depth(depths[str(key)]) if (group["pattern"] == "warp").any() else np.ones(image.shape[:2])
            for row in group.itertuples():
                box = Box(row.left, row.top, row.right, row.bottom)
                crop, crop_depth = cut(image, box, size), cut_map(depth, box, size)
                yield row.prompt_id, make_prompt(crop, crop_depth, row.pattern, config, row.seed)
                progress.step()


def prompt_work(
    plan: pd.DataFrame, photographs: ImageFolder, depths: ImageFolder, size: int, config: MaskConfig
) -> tuple[ImageWork, ImageWork]:
    """The prompts' images and masks.

    Both are made from the prompt's own seed, so each can be completed without the other.

    Args:
        plan: as `plan_prompts` returns it.
        photographs, depths: decoded photographs and their depth maps.
        size: side of the prompts in pixels.
        config: geometry of the masks.
    """
    keys = list(plan["prompt_id"])
    stamp = fingerprint(plan.to_dict("records"), size, config)

    def images(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key, prompt in _make(plan, missing, photographs, depths, size, config, "prompt images"):
            yield key, prompt.image

    def masks(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key, prompt in _make(plan, missing, photographs, depths, size, config, "prompt masks"):
            yield key, prompt.mask

    return ImageWork(stamp, keys, images), ImageWork(stamp, keys, masks)


def record_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    size: int,
    config: MaskConfig,
) -> pd.DataFrame:
    """The manifest: the plan, what was drawn, and checksums of the files.

    Returns:
        Columns prompt_id, source, photograph, split, pattern, parameters (JSON), left, top, right, bottom,
        hole_fraction, seed, image_sha256, mask_sha256; one row per prompt, in the plan's order.
    """
    keys = list(plan["prompt_id"])
    drawn = {
        key: (json.dumps(prompt.parameters, sort_keys=True), float(prompt.mask.mean()))
        for key, prompt in _make(plan, keys, photographs, depths, size, config, "prompt records")
    }
    table = plan.drop(columns=["key", "sha256"])
    table.insert(5, "parameters", [drawn[key][0] for key in keys])
    table.insert(10, "hole_fraction", [drawn[key][1] for key in keys])
    return table.assign(
        image_sha256=[images.checksum(key) for key in keys], mask_sha256=[masks.checksum(key) for key in keys]
    )
