"""A collection of prompts: planned, made one by one from their own seeds, then recorded."""

import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.masks.config import MaskConfig, MasksConfig, Pattern, PromptSplit
from prefpaint.masks.depth import checkpoint_depth, decode_depth, depth_from_disparity, encode_depth, pseudo_depth
from prefpaint.masks.prompts import Prompt, first_draw, make_prompt, prompt_patterns
from prefpaint.photographs.collection import measured_disparities
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.crops import Box, cut, cut_hole, cut_map, sample_crop, sample_crop_around
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

# Draws of a prompt after which a photograph has nothing new to give: of 8 views the last is found but for 1 in 10^11.
DRAWS = 200
# Masks of the user's in memory while prompts are drawn.
KEPT_HOLES = 16
# Which region of the photographs each prompt split is cut from.
REGION_OF = {"train": "train", "validation": "validation", "test": "test", "seen": "train", "unseen": "unseen"}


def depth_work(
    regions: pd.DataFrame,
    plan: pd.DataFrame,
    photographs: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> ImageWork:
    """Depth maps of all photographs that have a prompt, as `encode_depth` writes them.

    Measured where a measurement exists, else from the configured checkpoint, else `pseudo_depth`. Prompts of kind
    `warp` need them, and so does the pipeline `novel_view`.

    Args:
        regions: as `photographs.collection.photograph_regions` lists them.
        plan: as `plan_prompts` returns it.
        photographs: decoded.
        source: of the photographs.
        config: depth checkpoint.
    """
    known = regions.drop_duplicates("key")
    planned = known[known["key"].isin(plan["key"])]
    names = dict(zip(planned["key"], planned["photograph"], strict=True))

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


def plan_prompts(
    regions: pd.DataFrame,
    annotations: pd.DataFrame,
    own: ImageFolder,
    source: PhotographsConfig,
    config: MasksConfig,
) -> pd.DataFrame:
    """Which crop of which photograph every prompt is, and its pattern.

    The photographs of a split take turns in a seeded order, so that each gives as many prompts as any other. A prompt
    that would repeat another one is drawn again, and from another photograph when `DRAWS` draws give nothing new.
    Where no photograph gives anything new, the plan is cut short with a warning. Prompts of kind `own` take the user's
    holes in turn instead of the photographs.

    Args:
        regions: as `photographs.collection.photograph_regions` lists them.
        annotations: as `photographs.own_holes.annotation_table` lists them.
        own: the user's holes.
        source: sides of the crops, shape of the prompts.
        config: prompts per split and pattern.

    Returns:
        Columns prompt_id, source, photograph, key, sha256 (of the photograph), split, pattern, left, top,
        right, bottom, seed, annotation and annotation_sha256 (of the user's hole, "" for other kinds), text_prompt (""
        for none).

    Raises:
        PrefPaintError: a split has no photograph or no hole of the user's, or nothing is left for it.
    """
    usable: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    holes = annotations[annotations["annotation"] != ""].rename(columns=lambda name: f"hole_{name}")
    shares = config.shares(len(holes) > 0)
    wants_own = shares.get("own", 0) > 0
    words = dict(annotations.loc[annotations["annotation"] == "", ["key", "text_prompt"]].itertuples(index=False))
    _check_own(wants_own, len(holes))
    wanted: list[tuple[float, PromptSplit, int, Pattern]] = []
    for split, count in config.prompts.items():
        of_split = regions[regions["split"] == REGION_OF[split]].sort_values("key").to_dict("records")
        if not of_split:
            raise PrefPaintError(f"photographs.split: no photograph for {REGION_OF[split]}; give more photographs")
        turns = np.random.default_rng(derive_seed("photographs", config.seed, split)).permutation(len(of_split))
        usable[split, False] = [of_split[turn] for turn in turns]
        usable[split, True] = [
            {**region, **hole}
            for region in usable[split, False]
            for hole in holes[holes["hole_key"] == region["key"]].to_dict("records")
        ]
        if wants_own and not usable[split, True]:
            raise PrefPaintError(
                f"masks.patterns.own: none of the {len(of_split)} photographs for {REGION_OF[split]} has a mask that "
                "can be used; give more masks, another photographs.split, or another name as photographs.source, "
                "which divides the photographs anew"
            )
        patterns = prompt_patterns(count, shares, derive_seed("patterns", config.seed, split))
        wanted += [(index / count, split, index, pattern) for index, pattern in enumerate(patterns)]
    # Splits that share photographs are drawn in step, so that both are cut alike where these give too little.
    wanted.sort(key=lambda one: one[0])
    draw = _Draw(own, source, config)
    order = {split: place for place, split in enumerate(config.prompts)}
    rows = {}
    for _, split, index, pattern in wanted:
        drawn = draw(usable[split, pattern == "own"], split, index, pattern)
        if drawn is not None:
            region, box, seed = drawn
            rows[order[split], index] = {
                "prompt_id": f"{split}_{index:05d}",
                **{name: region[name] for name in ("source", "photograph", "key", "sha256")},
                "split": split,
                "pattern": pattern,
                **asdict(box),
                "seed": seed,
                "annotation": region["hole_annotation"] if pattern == "own" else "",
                "annotation_sha256": region["hole_sha256"] if pattern == "own" else "",
                "text_prompt": region["hole_text_prompt"] if pattern == "own" else words.get(region["key"], ""),
            }
    plan = pd.DataFrame([rows[place] for place in sorted(rows)])
    _report_cuts(plan["split"].value_counts().to_dict(), regions, source, config)
    small = 0 if source.shape is None else int((plan["right"] - plan["left"] < source.shape[1]).sum())
    if source.shape is not None and small:
        logger.warning(
            "%d of %d crops are smaller than photographs.size (%s) and are enlarged; use larger photographs, a "
            "larger photographs.longest_side (now %d) or photographs.crop_side, or a smaller photographs.size",
            small,
            len(plan),
            "{1} x {0} px".format(*source.shape),
            source.longest_side,
        )
    return plan


def _check_own(wanted: bool, holes: int) -> None:
    """Stop where holes of the user's are wanted and there are none; warn where there are some and none is wanted."""
    if wanted and not holes:
        raise PrefPaintError(
            "masks.patterns.own: there are no masks for it; set photographs.masks to a folder of masks, or "
            "photographs.annotations to a table of them"
        )
    if holes and not wanted:
        logger.warning("%d masks of yours are not used, because masks.patterns has no share for own", holes)


class _Draw:
    """Draws prompts, no two of them the same."""

    def __init__(self, own: ImageFolder, source: PhotographsConfig, config: MasksConfig) -> None:
        self.source, self.config = source, config
        self.hole = lru_cache(KEPT_HOLES)(own.__getitem__)
        self.taken: set[tuple[Any, ...]] = set()
        self.used_up: set[tuple[Any, ...]] = set()

    def __call__(
        self, regions: Sequence[dict[str, Any]], split: str, index: int, pattern: Pattern
    ) -> tuple[dict[str, Any], Box, int] | None:
        """Region, crop and seed of a prompt; None where no region gives a new one."""
        attempts = itertools.count()
        for turn in range(len(regions)):
            region = regions[(index + turn) % len(regions)]
            whole = Box(region["left"], region["top"], region["right"], region["bottom"])
            place = (region["key"], whole, pattern, region.get("hole_annotation"))
            if place in self.used_up:
                continue
            own = pattern == "own"
            # A whole photograph with a hole that is given is the same however often it is drawn.
            draws = 1 if own and self.source.shape is None else DRAWS
            for attempt in itertools.islice(attempts, draws):
                seed = derive_seed("prompt", self.config.seed, split, index, *([attempt] if attempt else []))
                rng = np.random.default_rng(derive_seed("crop", seed))
                box = self._crop_around(region, whole, rng) if own else self._crop(whole, rng)
                if box is None:
                    continue
                hole = first_draw(_shape(box, self.source.shape), pattern, self.config.geometry, seed)
                drawn = (region["key"], box, pattern, region.get("hole_annotation"), hole)
                if drawn not in self.taken:
                    self.taken.add(drawn)
                    return region, box, seed
            self.used_up.add(place)
        return None

    def _crop(self, whole: Box, rng: np.random.Generator) -> Box:
        return sample_crop(whole, self.source.shape, self.source.crop_side, rng)

    def _crop_around(self, region: dict[str, Any], whole: Box, rng: np.random.Generator) -> Box | None:
        """A crop with the user's hole; None where the hole fills all of it, or none."""
        mask = self.hole(region["hole_annotation"])
        around = Box(*(region[f"hole_{side}"] for side in ("left", "top", "right", "bottom")))
        pixels = np.flatnonzero(mask)
        row, column = divmod(int(pixels[rng.integers(len(pixels))]), mask.shape[1])
        shape = self.source.shape
        box = sample_crop_around(whole, around, (column, row), shape, self.source.crop_side, rng)
        cut_out = cut_hole(mask, box, _shape(box, shape))
        if not cut_out.any():
            logger.warning(
                "%s: the hole lies in the rim that photographs.size: native leaves out; it is skipped",
                region["hole_annotation"],
            )
        return box if cut_out.any() and not cut_out.all() else None


def _shape(box: Box, shape: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the prompt that a crop becomes."""
    return shape or (box.height, box.width)


def _report_cuts(
    planned: dict[str, int], regions: pd.DataFrame, source: PhotographsConfig, config: MasksConfig
) -> None:
    """Warn where there are fewer prompts than configured; stop where a split has none."""
    short = {split: planned.get(split, 0) for split, count in config.prompts.items() if planned.get(split, 0) < count}
    if not short:
        return
    counts = ", ".join(f"{number} of {config.prompts[split]} for {split}" for split, number in short.items())
    if source.shape is None:
        crops, widen = " (whole, with photographs.size: native)", ""
    else:
        crops = " (one crop of each)" if source.crop_side == (0, 0) else ""
        widen = f"widen photographs.crop_side (now {list(source.crop_side)}), "
    message = (
        f"masks.prompts: {regions['key'].nunique()} photographs{crops} do not give as many different prompts as asked "
        f"for: {counts}. For more, {widen}give more photographs or masks, or lower the share of warp (a crop has 8 "
        "views) or own in masks.patterns"
    )
    if not all(short.values()):
        raise PrefPaintError(message)
    logger.warning("%s; the plan is cut to these numbers.", message)


def _make(
    plan: pd.DataFrame,
    keys: Sequence[str],
    photographs: ImageFolder,
    depths: ImageFolder,
    holes: ImageFolder,
    shape: tuple[int, int] | None,
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
                own_shape = _shape(box, shape)
                crop, crop_depth = cut(image, box, own_shape), cut_map(depth, box, own_shape)
                own = cut_hole(holes[row.annotation], box, own_shape) if row.pattern == "own" else None
                yield row.prompt_id, make_prompt(crop, crop_depth, row.pattern, config, row.seed, own)
                progress.step()


def prompt_work(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    holes: ImageFolder,
    shape: tuple[int, int] | None,
    config: MaskConfig,
) -> tuple[ImageWork, ImageWork]:
    """The prompts' images and masks.

    Both are made from the prompt's own seed, so each can be completed without the other.

    Args:
        plan: as `plan_prompts` returns it.
        photographs, depths, holes: decoded photographs, their depth maps, and the user's holes.
        shape: height and width of the prompts in pixels; None where each has its crop's.
        config: geometry of the masks.
    """
    keys = list(plan["prompt_id"])
    stamp = fingerprint(plan.to_dict("records"), shape, config)

    def images(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key, prompt in _make(plan, missing, photographs, depths, holes, shape, config, "prompt images"):
            yield key, prompt.image

    def masks(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key, prompt in _make(plan, missing, photographs, depths, holes, shape, config, "prompt masks"):
            yield key, prompt.mask

    return ImageWork(stamp, keys, images), ImageWork(stamp, keys, masks)


def record_prompts(
    plan: pd.DataFrame,
    photographs: ImageFolder,
    depths: ImageFolder,
    holes: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    shape: tuple[int, int] | None,
    config: MaskConfig,
) -> pd.DataFrame:
    """The manifest: the plan, what was drawn, and checksums of the files.

    Different draws can end in the same picture with the same hole: a flat scene has few views, and two photographs
    may be blank. Only the first of these is listed, with a warning.

    Returns:
        Columns prompt_id, source, photograph, split, pattern, parameters (JSON), left, top, right, bottom,
        hole_fraction, seed, annotation, text_prompt, image_sha256, mask_sha256; one row per prompt, in the plan's
        order.

    Raises:
        PrefPaintError: nothing is left of a split.
    """
    keys = list(plan["prompt_id"])
    drawn = {
        key: (json.dumps(prompt.parameters, sort_keys=True), float(prompt.mask.mean()))
        for key, prompt in _make(plan, keys, photographs, depths, holes, shape, config, "prompt records")
    }
    table = plan.drop(columns=["key", "sha256", "annotation_sha256"])
    table.insert(5, "parameters", [drawn[key][0] for key in keys])
    table.insert(10, "hole_fraction", [drawn[key][1] for key in keys])
    table = table.assign(
        image_sha256=[images.checksum(key) for key in keys], mask_sha256=[masks.checksum(key) for key in keys]
    )
    repeated = table.duplicated(["image_sha256", "mask_sha256"])
    if repeated.any():
        counts = ", ".join(f"{count} of {split}" for split, count in table[repeated]["split"].value_counts().items())
        message = f"masks.prompts: prompts repeat others, picture and hole: {counts}"
        gone = set(table["split"]) - set(table[~repeated]["split"])
        if gone:
            raise PrefPaintError(
                f"{message}, and nothing else is left of {', '.join(sorted(gone))}; give other photographs, set "
                "photographs.crop_side to a range, or lower masks.geometry.least_hole"
            )
        logger.warning("%s; they are skipped.", message)
    return table[~repeated].reset_index(drop=True)
