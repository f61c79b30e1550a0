"""A user's own holes and words for their photographs, from whichever files they keep them in."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import category

import numpy as np

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.shapes import Hole, coco_hole, read_mask, united
from prefpaint.photographs.sources import image_files

# What people call the columns of such tables; the first is ours, the second Hugging Face's.
IMAGE_COLUMNS = ("image", "file_name", "image_path", "filename")
MASK_COLUMNS = ("mask", "mask_file_name", "mask_path", "conditioning_image")
TEXT_COLUMNS = ("text_prompt", "text", "caption", "prompt")


@dataclass(frozen=True)
class Annotation:
    """A hole of a photograph, or words for one, or both.

    Attributes:
        photograph: name in its collection.
        origin: where it stands, as messages call it: a file, or a file and a row of it.
        text_prompt: words for the hole, or for the whole photograph where there is no hole; "" for none.
        hole: None for words alone.
        files: masks that it is read from, whose contents it depends on.
    """

    photograph: str
    origin: str
    text_prompt: str
    hole: Hole | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Annotations:
    """What was found.

    Attributes:
        found: in the order of the photographs, then of the files.
        skipped: what could not be used: name (where it stands) and reason.
        holes: whether there should be holes among them, usable or not.
    """

    found: list[Annotation]
    skipped: list[dict[str, str]] = field(default_factory=list)
    holes: bool = False


@dataclass(frozen=True)
class _Row:
    """One line of a table, one object or caption of COCO's JSON; nothing is checked yet but its own form."""

    origin: str
    image: str
    text: str = ""
    mask: Path | None = None
    hole: Hole | None = None
    caption: bool = False


def own_photographs(config: PhotographsConfig) -> list[Path]:
    """The photographs of the user's folder: its images but for those that are masks.

    Raises:
        PrefPaintError: as `image_files`; or the table of annotations cannot be read.
    """
    assert config.folder is not None
    files = image_files(config.folder)
    if config.masks is not None:
        inside = config.masks.resolve()
        files = [path for path in files if not path.resolve().is_relative_to(inside)]
    if config.annotations is not None:
        masks = {row.mask.resolve() for row in _rows(config)[0] if row.mask is not None}
        files = [path for path in files if path.resolve() not in masks]
    if not files:
        raise PrefPaintError(f"photographs.folder: {config.folder} holds no image besides the masks; add photographs")
    return files


def read_annotations(config: PhotographsConfig, names: Sequence[str]) -> Annotations:
    """All holes and words of a collection; masks are not decoded yet.

    Args:
        config: folder, masks, annotations.
        names: of the photographs.

    Raises:
        PrefPaintError: a folder or table is missing or cannot be read at all.
    """
    found: list[Annotation] = []
    skipped: list[dict[str, str]] = []
    words: dict[str, str] = {}
    holes = config.masks is not None
    if config.annotations is not None:
        rows, skipped = _rows(config)
        holes = holes or any(row.mask is not None or row.hole is not None for row in rows)
        find = _Finder(config, names)
        for row in rows:
            try:
                photograph = find(row.image)
                hole, files = _hole_of(row, config)
            except PrefPaintError as error:
                skipped.append({"name": row.origin, "reason": f"{row.origin}: {error}"})
                continue
            if hole is None and not row.text:
                continue
            if hole is not None:
                found.append(Annotation(photograph, row.origin, row.text, hole, files))
            elif photograph in words:
                # COCO's captions come in fives.
                if not row.caption:
                    reason = f"{row.origin}: {photograph} has words already, and one text goes with a photograph"
                    skipped.append({"name": row.origin, "reason": reason})
            else:
                words[photograph] = row.text
                found.append(Annotation(photograph, row.origin, row.text))
    if config.masks is not None:
        masks, unmatched = _masks_by_name(config, names)
        found += masks
        skipped += unmatched
    # A hole without words of its own has those of its photograph.
    found = [
        replace(one, text_prompt=words.get(one.photograph, "")) if one.hole and not one.text_prompt else one
        for one in found
    ]
    place = {name: number for number, name in enumerate(names)}
    return Annotations(sorted(found, key=lambda one: place[one.photograph]), skipped, holes)


class _Finder:
    """Which photograph a table means: by its path from the folder or the table, or by its name if no other has it."""

    def __init__(self, config: PhotographsConfig, names: Sequence[str]) -> None:
        assert config.folder is not None and config.annotations is not None
        self.folder, self.beside = config.folder, config.annotations.parent
        self.names, self.plain = set(names), Counter(PurePosixPath(name).name for name in names)
        self.by_name = {PurePosixPath(name).name: name for name in names}

    def __call__(self, given: str) -> str:
        path = given.replace("\\", "/")
        try:
            tried = [path, *(_below(self.folder, root / path) for root in (self.folder, self.beside))]
        except (OSError, ValueError):
            tried = []
        for name in tried:
            if name in self.names:
                return name
        last = PurePosixPath(path).name
        if self.plain[last] == 1:
            return self.by_name[last]
        if self.plain[last] > 1:
            raise PrefPaintError(f"{self.plain[last]} images are called {last}; give the path from {self.folder}")
        raise PrefPaintError(f"image {given!r} was not found in {self.folder}")


def _below(folder: Path, path: Path) -> str:
    resolved, root = path.resolve(), folder.resolve()
    return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else ""


def _hole_of(row: _Row, config: PhotographsConfig) -> tuple[Hole | None, tuple[Path, ...]]:
    if row.mask is not None:
        if not row.mask.is_file():
            raise PrefPaintError(f"mask {row.mask} was not found")
        return _from_file(row.mask, config.invert_masks, f"mask {row.mask}: "), (row.mask,)
    return row.hole, ()


def _from_file(path: Path, invert: bool, name: str = "") -> Hole:
    def hole(width: int, height: int) -> np.ndarray:
        try:
            return read_mask(path, width, height, invert)
        except PrefPaintError as error:
            raise PrefPaintError(f"{name}{error}") from error

    return hole


def _masks_by_name(config: PhotographsConfig, names: Sequence[str]) -> tuple[list[Annotation], list[dict[str, str]]]:
    """Masks named as their photographs, whatever the endings: `tree.png`, or `tree_1.png` and `tree_2.png`, for
    `tree.jpg`."""
    assert config.masks is not None
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(PurePosixPath(name).with_suffix("").as_posix(), []).append(name)
    found, skipped = [], []
    for path in image_files(config.masks, "photographs.masks"):
        stem = path.relative_to(config.masks).with_suffix("").as_posix()
        matches = next((stems[start] for start in _starts(stem) if start in stems), [])
        if len(matches) == 1:
            hole = _from_file(path, config.invert_masks)
            found.append(Annotation(matches[0], str(path), "", hole, (path,)))
        else:
            why = "several photographs have" if matches else "no photograph has"
            skipped.append({"name": str(path), "reason": f"{path}: {why} the name of this mask; rename it"})
    return found, skipped


def _starts(stem: str) -> Iterator[str]:
    """A name, and what is left of it before each of its separators, the longest first."""
    yield stem
    for end in range(len(stem) - 1, 0, -1):
        if stem[end] in "_-.":
            yield stem[:end]


# ------------------------------------------------------------------ tables


def _rows(config: PhotographsConfig) -> tuple[list[_Row], list[dict[str, str]]]:
    """The rows of a table of annotations, and those that are none.

    Raises:
        PrefPaintError: the file as a whole cannot be used.
    """
    path = config.annotations
    assert path is not None
    if not path.is_file():
        raise PrefPaintError(f"photographs.annotations: {path} was not found; give a CSV, JSONL, Parquet or COCO file")
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows, ".json": None}
    if path.suffix.lower() not in readers:
        raise PrefPaintError(
            f"photographs.annotations: {path} is of no known kind; the name ends in .csv, .jsonl, .parquet, or .json "
            "for COCO"
        )
    try:
        reader = readers[path.suffix.lower()]
        if reader is None:
            return _coco_rows(path, config)
        return _table_rows(path, reader(path), config)
    except PrefPaintError:
        raise
    except (OSError, ValueError, csv.Error, RecursionError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise PrefPaintError(f"photographs.annotations: {path} cannot be read ({said})") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    # Where a comma is the decimal sign, spreadsheets write semicolons.
    separator = max(",;\t", key=text.partition("\n")[0].count)
    # Line ends inside of quotes belong to a cell.
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    for row in reader:
        yield reader.line_num, row if None not in row else "it has more cells than the first row"


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"it is not JSON ({error})"


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pandas as pd

    yield from enumerate(pd.read_parquet(path).to_dict("records"), 1)


def _table_rows(
    path: Path, given: Iterator[tuple[int, Any]], config: PhotographsConfig
) -> tuple[list[_Row], list[dict[str, str]]]:
    rows, skipped = [], []
    for number, cells in given:
        origin = f"{path}, row {number}"
        try:
            if not isinstance(cells, Mapping):
                raise PrefPaintError(cells if isinstance(cells, str) else "it is not a set of columns and values")
            image, mask = _cell(cells, IMAGE_COLUMNS), _cell(cells, MASK_COLUMNS)
            if not image:
                raise PrefPaintError(f"no image is named (column {' or '.join(IMAGE_COLUMNS[:2])})")
            rows.append(_Row(origin, image, _cell(cells, TEXT_COLUMNS), _mask_path(path, mask, config)))
        except PrefPaintError as error:
            skipped.append({"name": origin, "reason": f"{origin}: {error}"})
    if not rows and not skipped:
        raise PrefPaintError(f"photographs.annotations: {path} has no rows")
    if not rows:
        raise PrefPaintError(
            f"photographs.annotations: none of the rows can be used, the first because of this: {skipped[0]['reason']}"
        )
    if not any(row.text or row.mask for row in rows):
        raise PrefPaintError(
            f"photographs.annotations: {path} has neither masks nor words; call the columns image, mask and text_prompt"
        )
    return rows, skipped


def _mask_path(table: Path, mask: str, config: PhotographsConfig) -> Path | None:
    """Beside the table, in the folder of masks or in that of the photographs, whichever has it."""
    if not mask:
        return None
    if "\0" in mask or len(mask) > 1000:
        raise PrefPaintError("the name of its mask is not that of a file")
    places = [table.parent / mask, *(place / mask for place in (config.masks, config.folder) if place is not None)]
    try:
        return next((place for place in places if place.is_file()), places[0])
    except OSError as error:
        raise PrefPaintError(f"the name of its mask is not that of a file ({error})") from error


def _cell(cells: Mapping[Any, Any], columns: Sequence[str]) -> str:
    """The first of some columns that a row has, as one line of text.

    Raises:
        PrefPaintError: it is neither text nor a number nor empty.
    """
    for column in columns:
        value = cells.get(column)
        if isinstance(value, str):
            plain = " ".join(value.split())
            if any(category(character) in ("Cc", "Cs") for character in plain):
                raise PrefPaintError(f"column {column} holds control characters")
            if plain:
                return plain
        elif isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        elif isinstance(value, float):
            # A table's empty cell is NaN.
            if math.isfinite(value):
                return str(value)
        elif value is not None:
            raise PrefPaintError(f"column {column} holds {type(value).__name__}, not text")
    return ""


# ------------------------------------------------------------------ COCO


def _coco_rows(path: Path, config: PhotographsConfig) -> tuple[list[_Row], list[dict[str, str]]]:
    given = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(given, dict) or not all(isinstance(given.get(key), list) for key in ("images", "annotations")):
        raise PrefPaintError(
            f"photographs.annotations: {path} is not COCO's JSON, an object with the lists images and annotations; "
            "rows of JSON belong in a file that ends in .jsonl"
        )
    categories = given.get("categories")
    names = {
        entry["id"]: " ".join(entry["name"].split())
        for entry in (categories if isinstance(categories, list) else [])
        if _is_entry(entry, id=(int, str), name=str)
    }
    unknown = sorted(set(config.categories) - set(names.values()))
    if unknown:
        raise PrefPaintError(
            f"photographs.categories: {', '.join(unknown)} not in {path}, which has {', '.join(sorted(names.values()))}"
        )
    images = {
        entry["id"]: entry
        for entry in given["images"]
        if _is_entry(entry, id=(int, str), file_name=str, width=int, height=int)
        and min(entry["width"], entry["height"]) > 0
        and entry["width"] * entry["height"] <= 400_000_000
    }
    rows: list[_Row] = []
    skipped: list[dict[str, str]] = []
    for number, entry in enumerate(given["annotations"], 1):
        origin = f"{path}, annotation {entry['id'] if _is_entry(entry, id=(int, str)) else number}"
        try:
            row = _coco_row(origin, entry, images, names, config)
        except PrefPaintError as error:
            skipped.append({"name": origin, "reason": f"{origin}: {error}"})
        else:
            rows += [row] if row else []
    if not rows:
        why = f"the first because of this: {skipped[0]['reason']}" if skipped else "since it has none that are wanted"
        raise PrefPaintError(f"photographs.annotations: no annotation of {path} can be used, {why}")
    if config.objects == "together":
        rows = _together(rows)
    return rows, skipped


def _is_entry(entry: Any, **kinds: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(key), kind) and not isinstance(entry.get(key), bool) for key, kind in kinds.items()
    )


def _coco_row(
    origin: str,
    entry: Any,
    images: Mapping[Any, Mapping[str, Any]],
    names: Mapping[Any, str],
    config: PhotographsConfig,
) -> _Row | None:
    """None for an object of a category that is not wanted."""
    if not _is_entry(entry, image_id=(int, str)) or entry["image_id"] not in images:
        raise PrefPaintError("its image_id is of no image that has a file_name, width and height")
    image = images[entry["image_id"]]
    if _is_entry(entry, caption=str):
        return _Row(origin, image["file_name"], _cell(entry, ("caption",)), caption=True)
    kind = names.get(entry.get("category_id")) if isinstance(entry.get("category_id"), (int, str)) else None
    if config.categories and kind not in config.categories:
        return None
    words = kind or "" if config.category_words else ""
    if not entry.get("segmentation"):
        raise PrefPaintError("it has no segmentation")
    hole = coco_hole(entry["segmentation"], (image["width"], image["height"]))
    return _Row(origin, image["file_name"], words, hole=hole)


def _together(rows: Sequence[_Row]) -> list[_Row]:
    """All objects of a picture as one hole; captions stay."""
    objects: dict[str, list[_Row]] = {}
    for row in rows:
        if row.hole is not None:
            objects.setdefault(row.image, []).append(row)
    joined = []
    for image, parts in objects.items():
        text = ", ".join(dict.fromkeys(row.text for row in parts if row.text))
        hole = united([row.hole for row in parts if row.hole is not None])
        joined.append(_Row(f"{parts[0].origin} and all others of {image}", image, text, hole=hole))
    return [row for row in rows if row.hole is None] + joined
