"""A user's own holes and words for their photographs, from whichever files they keep them in."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.coco import coco_rows
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.shapes import Hole, read_mask
from prefpaint.photographs.sources import image_files, other_files
from prefpaint.photographs.tables import Row, table_rows
from prefpaint.tables import TABLE_SUFFIXES


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


def other_files_of(config: PhotographsConfig) -> list[str]:
    """Names of the files in the user's folders that are no images, but for the table of annotations.

    Relative to the folder of photographs; those of a folder of masks elsewhere come last, with their whole paths.
    """
    if config.folder is None:
        return []
    table = config.annotations.resolve() if config.annotations is not None else None
    names = [name for name in other_files(config.folder) if (config.folder / name).resolve() != table]
    if config.masks is not None and not config.masks.resolve().is_relative_to(config.folder.resolve()):
        paths = (config.masks / name for name in other_files(config.masks))
        names += [str(path) for path in paths if path.resolve() != table]
    return names


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


def _hole_of(row: Row, config: PhotographsConfig) -> tuple[Hole | None, tuple[Path, ...]]:
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


def _rows(config: PhotographsConfig) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows of a table of annotations, and those that are none.

    Raises:
        PrefPaintError: the file as a whole cannot be used.
    """
    path = config.annotations
    assert path is not None
    if not path.is_file():
        raise PrefPaintError(f"photographs.annotations: {path} was not found; give a CSV, JSONL, Parquet or COCO file")
    # A table may be packed.
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    kind = plain.suffix.lower()
    if kind not in (".json", *TABLE_SUFFIXES):
        raise PrefPaintError(
            f"photographs.annotations: {path} is of no known kind; the name ends in .csv, .jsonl, .parquet, or .json "
            f"for COCO; {', '.join(TABLE_SUFFIXES)} are tables, too, and each may be packed as .gz"
        )
    try:
        return coco_rows(path, config) if kind == ".json" else table_rows(path, config)
    except PrefPaintError as error:
        if str(error).startswith("photographs."):
            raise
        raise PrefPaintError(f"photographs.annotations: {error}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        said = " ".join(str(error).split())[:200]
        raise PrefPaintError(f"photographs.annotations: {path} cannot be read ({said})") from error
