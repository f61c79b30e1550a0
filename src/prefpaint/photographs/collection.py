"""A collection of photographs: decoded once into a folder, then listed with the regions each split may use."""

import logging
import math
import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError, printable
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.photographs.annotations import other_files_of, own_photographs
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.copies import groups_of_copies
from prefpaint.photographs.crops import assign_splits, regions_of
from prefpaint.photographs.sources import (
    EMBEDDED_NAMES,
    count_files,
    embedded_photographs,
    image_files,
    other_files,
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

    Other files are skipped with a warning.

    Args:
        folder: searched recursively.
        knob: the parameter that names the folder, for messages.

    Raises:
        PrefPaintError: see `sources.image_files`.
    """
    paths = image_files(folder, knob)
    others = other_files(folder)
    if others:
        logger.warning("%s: skipped %s", folder, printable(count_files(others)))
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
        One row per photograph and split that may use it (columns `REGION_COLUMNS`; `disparity` says whether depth was
        measured), and a report: photographs (how many are used); skipped, the pictures that are not and why: unreadable
        ones, and copies of others, which would otherwise be in two splits; and where there are any, others, the files
        that are no pictures, and near_duplicates, groups of names that are kept in one split.

    Raises:
        PrefPaintError: no photograph could be read, or too few to divide.
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
    names = list(present.values())
    splits, groups = _splits(config, photographs, names)
    measured = measured_disparities(config)
    shares = {str(split): share for split, share in config.split.items()}
    rows: list[tuple[Any, ...]] = []
    for (checksum, name), split in zip(present.items(), splits, strict=True):
        key = photograph_key(name)
        width, height = photographs.size(key)
        if split is None and name != (kept := _largest(_group_of(name, groups), photographs)):
            reason = f"{name}: is nearly the same picture as {kept}, and photographs are cut into regions"
            skipped.append({"name": name, "reason": reason})
            continue
        regions = regions_of(width, height, split, shares)
        about = (name, key, config.source, width, height, name in measured, checksum)
        rows += [(*about, part, box.left, box.top, box.right, box.bottom) for part, box in regions.items()]
    table = pd.DataFrame(rows, columns=REGION_COLUMNS)
    report: dict[str, Any] = {"photographs": int(table["key"].nunique()), "skipped": skipped}
    if others := other_files_of(config):
        report["others"] = others
    if groups:
        report["near_duplicates"] = groups
    return table, report


def _splits(
    config: PhotographsConfig, photographs: ImageFolder, names: list[str]
) -> tuple[list[str | None], list[list[str]]]:
    """The split of each photograph, and the groups of near-duplicates, each of which is in one split as a whole."""
    shares = {str(split): share for split, share in config.split.items()}
    seed = derive_seed("photographs", config.source)
    whole = config.annotated or config.shape is None
    places = np.arange(len(names))
    if config.near_duplicates == "together":
        places = groups_of_copies(photographs, [photograph_key(name) for name in names])
    members: dict[int, list[str]] = {}
    for name, place in zip(names, places.tolist(), strict=True):
        members.setdefault(place, []).append(name)
    groups = [group for group in members.values() if len(group) > 1]
    try:
        of_group = assign_splits(len(members), shares, config.unseen, seed, whole)
    except PrefPaintError as error:
        if not groups:
            raise
        raise PrefPaintError(
            f"{error}. Of {len(names)} images, near-duplicates count as one ({_said(groups)}); set "
            "photographs.near_duplicates: ignore if they are not the same pictures"
        ) from error
    if groups:
        logger.warning(
            "%d photographs are near-duplicates of others (%s); each such group is kept in one split "
            "(photographs.near_duplicates)",
            len(names) - len(members),
            printable(_said(groups)),
        )
    if None in of_group:
        logger.info(
            "%d photographs are too few to divide among train, validation and test: each is cut into three regions",
            of_group.count(None),
        )
    return [of_group[place] for place in places], groups


def _said(groups: list[list[str]]) -> str:
    """Groups of near-duplicates as a phrase."""
    shown = "; ".join(
        " and ".join(group[:3]) + (f" and {len(group) - 3} more" if len(group) > 3 else "") for group in groups[:3]
    )
    return f"{len(groups)} groups: {shown}{'; …' if len(groups) > 3 else ''}"


def _group_of(name: str, groups: list[list[str]]) -> list[str]:
    return next((group for group in groups if name in group), [name])


def _largest(names: list[str], photographs: ImageFolder) -> str:
    """The photograph of most pixels, the first of those."""
    return max(names, key=lambda name: math.prod(photographs.size(photograph_key(name))))


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
