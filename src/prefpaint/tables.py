"""Tables that people bring, whatever program wrote them: CSV of any dialect, workbooks, JSON Lines, Parquet.

What a file is is told from its first bytes, and only where those say nothing from its name. Cells stay as they were
written; what they mean is for the reader of the table to say.
"""

import codecs
import csv
import gzip
import io
import json
import re
import sys
import unicodedata
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from prefpaint.errors import PrefPaintError, printable

Kind = Literal["csv", "json", "jsonl", "parquet", "workbook"]
# Endings of files that hold tables, without regard to case; each may be followed by .gz.
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
OF_ENDING: dict[str, Kind] = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}
# ZIP, in which newer workbooks are, and the container of older ones.
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
GZIP = b"\x1f\x8b"
# Unpacked, of a file that is compressed; beyond it, it is taken for an attack or a mistake.
MOST_BYTES = 2**30
# UTF-32's marks begin with UTF-16's.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What a file without a mark is looked at for, in bytes.
SNIFFED = 4096
SEPARATORS = (",", ";", "\t", "|")
# Columns that a message names, and characters of each.
SHOWN_COLUMNS, SHOWN_LETTERS = 8, 60


@dataclass(frozen=True)
class File:
    """A file of a table, read but not understood yet.

    Attributes:
        path: where it is.
        kind: what its bytes and its name say that it is; `json` is one value, which need not be a table.
        content: its bytes, unpacked.
    """

    path: Path
    kind: Kind
    content: bytes

    def text(self) -> tuple[str, list[str]]:
        """Its text, and what the user should know about how it was read.

        UTF-8, UTF-16 and UTF-32 are told by their marks or their bytes. What is none of them is read as Windows-1252,
        of which Latin-1 is a part, and the user is told.

        Raises:
            PrefPaintError: it is not text.
        """
        for mark, codec in MARKS:
            if self.content.startswith(mark):
                return self._decoded(codec, len(mark)), []
        zeros = np.frombuffer(self.content[:SNIFFED], np.uint8) == 0
        for codec, start in (("utf-16-le", 1), ("utf-16-be", 0)):
            # Of ASCII in UTF-16 every other byte is 0, and no other.
            if 2 * zeros[start::2].sum() > len(zeros[start::2]) and not zeros[1 - start :: 2].any():
                return self._decoded(codec), []
        try:
            return self.content.decode("utf-8"), []
        except UnicodeDecodeError:
            text = self._decoded("cp1252")
        if any(unicodedata.category(letter) == "Cc" and letter not in "\t\n\v\f\r" for letter in text):
            raise self._not_text("it holds binary data")
        return text, ["is not UTF-8 and was read as Windows-1252; check its names, or save it as UTF-8"]

    def _decoded(self, codec: str, start: int = 0) -> str:
        try:
            return self.content[start:].decode(codec)
        except UnicodeDecodeError as error:
            raise self._not_text(str(error)) from error

    def _not_text(self, reason: str) -> PrefPaintError:
        kind = "JSON" if self.kind.startswith("json") else "a CSV file"
        return PrefPaintError(
            f"{self.path}: is not {kind} ({reason}); save it as comma-separated UTF-8 text or .parquet"
        )


@dataclass(frozen=True)
class Table:
    """A table as it was written.

    Attributes:
        cells: N rows of anything; known columns under their known names, others as they are written.
        numbers: (N,) where each row is, counted as the user's program counts.
        unit: what they count: "line" of a text, "row" of a sheet or of Parquet.
        faults: number and reason of each row that cannot be one; the reason follows on a name of the row.
        notes: what the user should know about how it was read.
    """

    cells: pd.DataFrame
    numbers: Sequence[int]
    unit: str
    faults: Sequence[tuple[int, str]] = ()
    notes: Sequence[str] = ()


def open_table(path: Path) -> File:
    """Read a file and tell what it is.

    Raises:
        PrefPaintError: it cannot be read, or is not what its name says.
    """
    try:
        content = path.read_bytes()
        name = path
        if content.startswith(GZIP):
            name = path.with_suffix("") if path.suffix.lower() == ".gz" else path
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                content = packed.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise PrefPaintError(f"{path}: cannot be read ({reason}); write it again") from error
    if len(content) > MOST_BYTES and name != path:
        raise PrefPaintError(f"{path}: is larger than {MOST_BYTES >> 30} GiB when it is unpacked; divide it")
    ending = name.suffix.lower()
    if content.startswith(b"PAR1"):
        return File(path, "parquet", content)
    if ending == ".parquet":
        raise PrefPaintError(f"{path}: is not a Parquet file (it does not begin like one); write it again")
    if content.startswith(WORKBOOKS):
        return File(path, "workbook", content)
    kind = OF_ENDING.get(ending)
    if kind is None:
        # No header begins with a bracket.
        first = content[:SNIFFED].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        kind = {b"{": "jsonl", b"[": "json"}.get(first, "csv")  # type: ignore[assignment]
    return File(path, kind or "csv", content)


def read_table(file: File, known: Sequence[str], short_rows: bool = False) -> Table:
    """The rows of a table.

    Columns are recognised whatever their case, and with spaces, hyphens or dots for underscores. The known ones also
    tell which character separates a CSV file's cells, and which sheet of a workbook is meant.

    Args:
        file: of any kind but `json`.
        known: columns that may be wanted.
        short_rows: whether rows of text may lack their last cells; they are empty then.

    Raises:
        PrefPaintError: it cannot be read, is empty, or has a known column twice.
    """
    if file.kind == "csv":
        table = _csv(file, known, short_rows)
    elif file.kind == "jsonl":
        text, notes = file.text()
        # Only where a line ends; JSON's strings may hold other line ends of Unicode.
        lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        table = records(_parsed(lines), "line", notes)
    elif file.kind == "parquet":
        table = _parquet(file)
    else:
        table = _workbook(file, known)
    table.cells.columns = pd.Index(_names(file, list(table.cells.columns), known), dtype=object)
    # Of unknown columns of one name the first is kept, so that a row is a mapping.
    kept = ~table.cells.columns.duplicated()
    return Table(table.cells.loc[:, kept], table.numbers, table.unit, table.faults, table.notes)


def show_columns(names: Sequence[Any]) -> str:
    """Names of columns as a phrase; of thousands the first."""
    shown = ", ".join(str(name)[:SHOWN_LETTERS] for name in names[:SHOWN_COLUMNS])
    return shown if len(names) <= SHOWN_COLUMNS else f"{shown} and {len(names) - SHOWN_COLUMNS} more"


def records(rows: Iterator[tuple[int, Any]], unit: str, notes: Sequence[str] = ()) -> Table:
    """A table of JSON objects, each with its number; what is no object is a fault, and strings are reasons."""
    found: list[Mapping[Any, Any]] = []
    numbers, faults = [], []
    for number, row in rows:
        if isinstance(row, Mapping):
            found.append(row)
            numbers.append(number)
        else:
            faults.append((number, row if isinstance(row, str) else "is not a set of columns and values"))
    names = list(dict.fromkeys(name for row in found for name in row))
    cells = pd.DataFrame(index=range(len(found)))
    if names:
        columns = {place: pd.Series([row.get(name) for row in found], dtype=object) for place, name in enumerate(names)}
        cells = pd.DataFrame(columns)
        # A lone surrogate, which JSON can spell, could be no column's name.
        cells.columns = pd.Index([printable(str(name)) for name in names], dtype=object)
    return Table(cells, numbers, unit, faults, notes)


def _parsed(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, Any]]:
    for number, line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            value = f"is not JSON ({error})"
        else:
            # A string would be taken for a reason.
            value = value if isinstance(value, Mapping) else None
        yield number, value


def normal_name(name: Any) -> str:
    """A column's name without what people and programs change in it: case, spaces, hyphens, dots, width."""
    plain = unicodedata.normalize("NFKC", str(name)).casefold().strip()
    return re.sub(r"[\s.\-]+", "_", plain)


def _names(file: File, names: Sequence[Any], known: Sequence[str]) -> list[str]:
    """Names with known columns under their known names."""
    meant = [normal_name(name) for name in names]
    for name in known:
        if meant.count(name) > 1:
            raise PrefPaintError(f"{file.path}: has the column {name} twice; remove one")
    return [plain if plain in known else str(name) for plain, name in zip(meant, names, strict=True)]


def _csv(file: File, known: Sequence[str], short_rows: bool) -> Table:
    text, notes = file.text()
    separator, skipped = _separator(text, known)
    csv.field_size_limit(sys.maxsize)  # A quotation mark that is not closed is named below, however long its cell.
    dialect: dict[str, Any] = {"delimiter": separator, "skipinitialspace": separator != "\t"}
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, **dialect)
    header: list[str] = []
    rows, numbers, faults = [], [], []
    try:
        end = 0
        for row in reader:
            start, end = end + 1, reader.line_num
            cells = [cell.strip() for cell in row]
            # Spreadsheets end lines with separators, and write lines of nothing else.
            while cells and not cells[-1] and (not header or len(cells) > len(header)):
                cells.pop()
            if start <= skipped or not any(cells):
                continue
            # Only such rows can hold a quotation mark that takes in what follows it.
            if (end > start or end == len(lines)) and not _is_closed(lines[start - 1 : end], dialect):
                faults.append((start, f"a quotation mark is not closed and takes in all up to line {end}; close it"))
            elif not header:
                header = cells
            elif len(cells) > len(header) or (len(cells) < len(header) and not short_rows):
                faults.append((start, f"has {len(cells)} fields where the header has {len(header)}; correct the line"))
            else:
                rows.append(cells + [""] * (len(header) - len(cells)))
                numbers.append(start)
    except csv.Error as error:
        raise PrefPaintError(
            f"{file.path}: is not a CSV file ({error}); save it as comma-separated UTF-8 text or .parquet"
        ) from error
    if not header:
        raise PrefPaintError(f"{file.path}: is empty; it needs the columns {', '.join(known)}")
    cells = pd.DataFrame(rows, columns=range(len(header)), dtype=object)
    cells.columns = pd.Index([printable(name) for name in header], dtype=object)
    return Table(cells, numbers, "line", faults, notes)


def _is_closed(lines: Sequence[str], dialect: Mapping[str, Any]) -> bool:
    """Whether every quotation mark of a row that begins a cell ends one, too."""
    try:
        return len(list(csv.reader(lines, strict=True, **dialect))) == 1
    except csv.Error as error:
        # In one line, a space after a quotation mark is no more than that.
        return len(lines) == 1 and "unexpected end" not in str(error)


def _separator(text: str, known: Sequence[str]) -> tuple[str, int]:
    """The character between cells, and how many lines at the beginning are none of the table's.

    It is the one that makes most known columns, or most columns, of the first line that says anything.
    """
    first = re.match(r"sep=(.)\r?\n", text)
    if first:  # So Excel is told which it is.
        return first[1], 1
    head = text.lstrip()[: 2**16]

    def columns(separator: str) -> tuple[int, int]:
        row = next(
            csv.reader(io.StringIO(head, newline=""), skipinitialspace=separator != "\t", delimiter=separator), []
        )
        return sum(normal_name(name) in known for name in row), len(row)

    return max(SEPARATORS, key=columns), 0


def _parquet(file: File) -> Table:
    from pyarrow import ArrowException

    try:
        table = pd.read_parquet(io.BytesIO(file.content))
        # pandas keeps what was made the index apart.
        table = table.reset_index(drop=not any(table.index.names))
        # Only now is it seen whether texts are UTF-8.
        texts = [name for name, kind in table.dtypes.items() if isinstance(kind, pd.StringDtype)]
        table = table.astype(dict.fromkeys(texts, object))
    except (ArrowException, OSError, ValueError, KeyError, TypeError, NotImplementedError) as error:
        raise PrefPaintError(f"{file.path}: is not a Parquet file ({error}); write it again") from error
    return Table(table, range(1, len(table) + 1), "row")


def _workbook(file: File, known: Sequence[str]) -> Table:
    """The first sheet with most of the known columns; dates are dates, formulas are their values."""
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(file.content))
        sheets = {
            name: workbook.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in workbook.sheet_names
        }
    except (CalamineError, OSError, ValueError, KeyError) as error:
        raise PrefPaintError(
            f"{file.path}: is not a workbook that can be read ({error}); save it as .xlsx, or as CSV in UTF-8"
        ) from error
    headers = {name: next((row for row in rows if any(map(_said, row))), []) for name, rows in sheets.items()}
    chosen = max(headers, key=lambda name: sum(normal_name(cell) in known for cell in headers[name]), default=None)
    if chosen is None or not headers[chosen]:
        raise PrefPaintError(f"{file.path}: is empty; it needs the columns {', '.join(known)}")
    header = headers[chosen]
    width = max(place for place, cell in enumerate(header, 1) if _said(cell))
    below = list(enumerate(sheets[chosen], 1))[sheets[chosen].index(header) + 1 :]
    rows = [
        (number, row[:width] + [None] * (width - len(row))) for number, row in below if any(map(_said, row[:width]))
    ]
    cells = pd.DataFrame([row for _, row in rows], columns=range(width), dtype=object)
    cells.columns = pd.Index([printable(str(name).strip()) for name in header[:width]], dtype=object)
    filled = [name for name, row in headers.items() if row]
    notes = [f"has {len(filled)} sheets, of which {chosen} is read"] if len(filled) > 1 else []
    return Table(cells, [number for number, _ in rows], "row", notes=notes)


def _said(cell: Any) -> bool:
    return cell is not None and str(cell).strip() != ""
