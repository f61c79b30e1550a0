"""Tables of holes and words."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any
from unicodedata import category

from prefpaint.errors import PrefPaintError, printable
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.shapes import Hole
from prefpaint.tables import open_table, read_table, show_columns

logger = logging.getLogger(__name__)

# What people call the columns of such tables; the first is ours, the second Hugging Face's.
IMAGE_COLUMNS = ("image", "file_name", "image_path", "filename")
MASK_COLUMNS = ("mask", "mask_file_name", "mask_path", "conditioning_image")
TEXT_COLUMNS = ("text_prompt", "text", "caption", "prompt")


@dataclass(frozen=True)
class Row:
    """One line of a table, one object or caption of COCO's JSON; nothing is checked yet but its own form."""

    origin: str
    image: str
    text: str = ""
    mask: Path | None = None
    hole: Hole | None = None
    caption: bool = False


def table_rows(path: Path, config: PhotographsConfig) -> tuple[list[Row], list[dict[str, str]]]:
    """The rows of a table, and what could not be used: name (where it stands) and reason.

    Raises:
        PrefPaintError: the file cannot be read, no row can be used, or there are neither masks nor words.
    """
    rows, skipped = [], []
    table = read_table(open_table(path), (*IMAGE_COLUMNS, *MASK_COLUMNS, *TEXT_COLUMNS), short_rows=True)
    for note in table.notes:
        logger.warning("%s: %s", path, printable(note))
    # A row that is none is a reason.
    found: list[tuple[int, Any]] = list(zip(table.numbers, table.cells.to_dict("records"), strict=True))
    for number, cells in sorted([*found, *table.faults], key=itemgetter(0)):
        origin = f"{path}, row {number}"
        try:
            if not isinstance(cells, Mapping):
                raise PrefPaintError(f"it {cells}" if str(cells).startswith(("is ", "has ")) else str(cells))
            image, mask = text_cell(cells, IMAGE_COLUMNS), text_cell(cells, MASK_COLUMNS)
            if not image:
                raise PrefPaintError(
                    f"no image is named (column {' or '.join(IMAGE_COLUMNS[:2])}); its columns are "
                    f"{show_columns(list(cells))}"
                )
            rows.append(Row(origin, image, text_cell(cells, TEXT_COLUMNS), _mask_path(path, mask, config)))
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


def text_cell(cells: Mapping[Any, Any], columns: Sequence[str]) -> str:
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
