"""A user's own holes, decoded once into a folder, and listed with their words."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.photographs.annotations import Annotation, Annotations, read_annotations
from prefpaint.photographs.collection import photograph_key, photograph_names
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.progress import Progress

COLUMNS = ["annotation", "key", "text_prompt", "left", "top", "right", "bottom", "sha256"]


def hole_work(config: PhotographsConfig, photographs: ImageFolder) -> ImageWork:
    """The user's holes, each in the size of its decoded photograph, one PNG each.

    Holes that cannot be used are skipped, or stop the run if the configuration says so.

    Args:
        config: folder, masks, annotations.
        photographs: decoded.
    """
    found = _keyed(_read(config))
    wanted = {key: one for key, one in found.items() if one.hole is not None}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        with Progress("read masks", len(missing)) as progress:
            for key in missing:
                try:
                    hole = _decode(wanted[key], photographs)
                except PrefPaintError as error:
                    if config.on_unreadable == "stop":
                        raise PrefPaintError(f"{wanted[key].origin}: {error}") from error
                else:
                    yield key, hole
                progress.step()

    stamp = [
        (key, one.origin, [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in one.files])
        for key, one in wanted.items()
    ]
    pictures = {photograph_key(one.photograph) for one in wanted.values()}
    checksums = {key: photographs.checksum(key) for key in sorted(pictures) if key in photographs}
    table = config.annotations
    about_table = [table.stat().st_size, table.stat().st_mtime_ns] if table else []
    return ImageWork(fingerprint(stamp, checksums, about_table, config), list(wanted), produce)


def annotation_table(
    config: PhotographsConfig, regions: pd.DataFrame, photographs: ImageFolder, holes: ImageFolder
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """List the holes and words of a collection.

    Args:
        config: folder, masks, annotations.
        regions: as `photographs.collection.photograph_regions` lists them.
        photographs: decoded.
        holes: the folder that `hole_work` filled.

    Returns:
        One row per hole, and per photograph with words for all of it: annotation (the hole's key, "" for words alone),
        key (the photograph's; of copies, that of the one which is used), text_prompt, the hole's box in photograph
        pixels and the SHA-256 of its file, 0 and "" for words alone; and what was skipped: name and reason.

    Raises:
        PrefPaintError: there are masks, and none can be used.
    """
    read = _read(config)
    skipped = list(read.skipped)
    used = dict(regions[["sha256", "key"]].drop_duplicates().itertuples(index=False))
    rows = []
    for key, one in _keyed(read).items():
        photograph = photograph_key(one.photograph)
        kept = used[photographs.checksum(photograph)] if photograph in photographs else ""
        if one.hole is None and kept:
            rows.append(("", kept, one.text_prompt, 0, 0, 0, 0, ""))
        elif one.hole is not None and key in holes:
            rows.append((key, kept, one.text_prompt, *_box(holes[key]), holes.checksum(key)))
        else:
            skipped.append({"name": one.origin, "reason": f"{one.origin}: {_why_unusable(one, photographs)}"})
    table = pd.DataFrame(rows, columns=COLUMNS)
    if read.holes and not (table["annotation"] != "").any():
        raise PrefPaintError(
            "photographs.masks, photographs.annotations: none of your masks can be used, the first because of this: "
            f"{skipped[0]['reason']}"
        )
    return table, skipped


def _read(config: PhotographsConfig) -> Annotations:
    return read_annotations(config, photograph_names(config)) if config.annotated else Annotations([])


def _keyed(read: Annotations) -> dict[str, Annotation]:
    """By key: the photograph's and a number."""
    counts: Counter[str] = Counter()
    found = {}
    for one in read.found:
        photograph = photograph_key(one.photograph)
        found[f"{photograph}__{counts[photograph]}"] = one
        counts[photograph] += 1
    return found


def _decode(one: Annotation, photographs: ImageFolder) -> np.ndarray:
    """(H, W) uint8, 1 in the hole.

    Raises:
        PrefPaintError: what is wrong with it.
    """
    photograph = photograph_key(one.photograph)
    if photograph not in photographs:
        raise PrefPaintError(f"{one.photograph} was skipped itself")
    assert one.hole is not None
    hole = one.hole(*photographs.size(photograph))
    if not hole.any():
        advice = "; mark the hole in white, or set photographs.invert_masks" if one.files else ""
        raise PrefPaintError(f"nothing is to be repainted{advice}")
    if hole.all():
        advice = "; set photographs.invert_masks if white is kept" if one.files else ""
        raise PrefPaintError(f"all is to be repainted, so nothing is known{advice}")
    return hole


def _why_unusable(one: Annotation, photographs: ImageFolder) -> str:
    try:
        _decode(one, photographs)
    except PrefPaintError as error:
        return str(error)
    return "was added after the masks were read; run `kedro run --pipeline=masks` again"


def _box(hole: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom; right and bottom exclusive."""
    (columns,), (rows,) = np.nonzero(hole.any(0)), np.nonzero(hole.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
