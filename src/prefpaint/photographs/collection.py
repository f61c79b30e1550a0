"""A collection of photographs: decoded once into a folder, then listed with the regions each split may use."""

import logging
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.photographs.annotations import own_photographs
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.crops import assign_splits, regions_of
from prefpaint.photographs.sources import (
    EMBEDDED_NAMES,
    embedded_photographs,
    image_files,
    read_image,
)
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

REGION_COLUMNS = [
    "photograph",
    "key",
    "source",
    "width",
    "height",
    "disparity",
    "sha256",
    "split",
    "left",
    "top",
    "right",
    "bottom",
]


def photograph_key(name: str) -> str:
    """A file name without ending for a photograph's name, the same on every system and unique."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_")
    return plain if plain == name else f"{plain[:80]}_{sha256(name.encode()).hexdigest()[:8]}"


def keyed_files(folder: Path, knob: str) -> dict[str, Path]:
    """The image files below a folder by file name without ending, the same on every system and unique, in order.

    Args:
        folder: searched recursively.
        knob: the parameter that names the folder, for messages.

    Raises:
        PrefPaintError: see `sources.image_files`.
    """
    paths = image_files(folder, knob)
    names = [path.relative_to(folder) for path in paths]
    # Without its ending a name is nicer, unless two files differ in nothing else.
    plain = [name.with_suffix("") for name in names]
    keys = [short if plain.count(short) == 1 else name for short, name in zip(plain, names, strict=True)]
    return {photograph_key(key.as_posix()): path for key, path in zip(keys, paths, strict=True)}


def photograph_names(config: PhotographsConfig) -> list[str]:
    """Names of all photographs of a collection, readable or not, in order."""
    if config.folder is None:
        return list(EMBEDDED_NAMES)
    return [path.relative_to(config.folder).as_posix() for path in own_photographs(config)]


def photograph_work(config: PhotographsConfig) -> ImageWork:
    """The decoded photographs, one PNG each.

    Files that cannot be read are skipped, or stop the run if the configuration says so.
    """
    names = photograph_names(config)
    keys = {photograph_key(name): name for name in names}
    if config.folder is None:
        stamp: Any = names
    else:
        stats = [(name, (config.folder / name).stat()) for name in names]
        stamp = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        if config.folder is None:
            wanted = {keys[key]: key for key in missing}
            for photograph in embedded_photographs():
                if photograph.name in wanted:
                    yield wanted[photograph.name], photograph.image
            return
        with Progress("read photographs", len(missing)) as progress:
            for key in missing:
                try:
                    image = np.asarray(read_image(config.folder / keys[key], config.longest_side))
                except PrefPaintError:
                    if config.on_unreadable == "stop":
                        raise
                else:
                    yield key, image
                progress.step()

    return ImageWork(fingerprint(stamp, config.longest_side), list(keys), produce)


def photograph_regions(config: PhotographsConfig, photographs: ImageFolder) -> tuple[pd.DataFrame, dict[str, Any]]:
    """List a decoded collection.

    Args:
        config: what `photograph_work` was made with.
        photographs: the folder it filled.

    Returns:
        One row per photograph and split that may use it (columns `REGION_COLUMNS`; `disparity` says whether
        depth was measured), and a report of the files that were skipped and why: unreadable ones, and copies of
        others, which would otherwise be in two splits.

    Raises:
        PrefPaintError: no photograph could be read, or only one.
    """
    skipped = []
    present: dict[str, str] = {}
    for name in photograph_names(config):
        key = photograph_key(name)
        if key in photographs:
            checksum = photographs.checksum(key)
            if checksum in present:
                reason = f"{name}: is the same picture as {present[checksum]}"
                skipped.append({"name": name, "reason": reason})
            else:
                present[checksum] = name
        elif config.folder is not None:
            skipped.append({"name": name, "reason": _why_unreadable(config.folder / name, config.longest_side)})
    if not present:
        raise PrefPaintError(
            f"photographs.folder: none of the {len(skipped)} image files in {config.folder} can be read, the first "
            f"because of this: {skipped[0]['reason']}"
        )
    measured = measured_disparities(config)
    shares = {str(split): share for split, share in config.split.items()}
    seed = derive_seed("photographs", config.source)
    splits = assign_splits(len(present), shares, config.unseen, seed, whole=config.annotated or config.shape is None)
    if None in splits:
        logger.info(
            "%d photographs are too few to divide among train, validation and test: each is cut into three regions",
            splits.count(None),
        )
    rows: list[tuple[Any, ...]] = []
    for (checksum, name), split in zip(present.items(), splits, strict=True):
        key = photograph_key(name)
        width, height = photographs.size(key)
        regions = regions_of(width, height, split, shares)
        about = (name, key, config.source, width, height, name in measured, checksum)
        rows += [(*about, part, box.left, box.top, box.right, box.bottom) for part, box in regions.items()]
    return pd.DataFrame(rows, columns=REGION_COLUMNS), {"photographs": len(present), "skipped": skipped}


def _why_unreadable(path: Path, longest_side: int) -> str:
    try:
        read_image(path, longest_side)
    except PrefPaintError as error:
        return str(error)
    return f"{path}: was added after the photographs were read; run `kedro run --pipeline=masks` again"


def measured_disparities(config: PhotographsConfig) -> dict[str, np.ndarray]:
    """Disparity maps, by photograph, of the photographs that have one; see `Photograph.disparity`."""
    if config.folder is not None:
        return {}
    return {p.name: p.disparity for p in embedded_photographs() if p.disparity is not None}
