"""Holes and words in COCO's JSON: its objects, and its captions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.shapes import coco_hole, united
from prefpaint.photographs.tables import Row, text_cell
from prefpaint.tables import open_table


def coco_rows(path: Path, config: PhotographsConfig) -> tuple[list[Row], list[dict[str, str]]]:
    """The objects and captions of a file, and what could not be used: name (where it stands) and reason.

    Raises:
        PrefPaintError: the file is of another kind, lacks a category that is wanted, or has nothing that can be used.
        OSError, ValueError: the file cannot be read.
    """
    given = json.loads(open_table(path).text()[0])
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
    rows: list[Row] = []
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
) -> Row | None:
    """None for an object of a category that is not wanted."""
    if not _is_entry(entry, image_id=(int, str)) or entry["image_id"] not in images:
        raise PrefPaintError("its image_id is of no image that has a file_name, width and height")
    image = images[entry["image_id"]]
    if _is_entry(entry, caption=str):
        return Row(origin, image["file_name"], text_cell(entry, ("caption",)), caption=True)
    kind = names.get(entry.get("category_id")) if isinstance(entry.get("category_id"), (int, str)) else None
    if config.categories and kind not in config.categories:
        return None
    words = kind or "" if config.category_words else ""
    if not entry.get("segmentation"):
        raise PrefPaintError("it has no segmentation")
    hole = coco_hole(entry["segmentation"], (image["width"], image["height"]))
    return Row(origin, image["file_name"], words, hole=hole)


def _together(rows: Sequence[Row]) -> list[Row]:
    """All objects of a picture as one hole; captions stay."""
    objects: dict[str, list[Row]] = {}
    for row in rows:
        if row.hole is not None:
            objects.setdefault(row.image, []).append(row)
    joined = []
    for image, parts in objects.items():
        text = ", ".join(dict.fromkeys(row.text for row in parts if row.text))
        hole = united([row.hole for row in parts if row.hole is not None])
        joined.append(Row(f"{parts[0].origin} and all others of {image}", image, text, hole=hole))
    return [row for row in rows if row.hole is None] + joined
