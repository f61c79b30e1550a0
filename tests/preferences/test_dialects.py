"""Ratings as people keep them: whatever program wrote a table, the same rows are read; doubtful ones are named."""

import gzip
import io
import json
import unicodedata
import zipfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.exchange import Imported, read_preferences, to_csv
from prefpaint.preferences.label_studio import label_studio_tasks
from prefpaint.preferences.names import is_name, same_name, spellings
from prefpaint.preferences.schema import CRITERIA, RATING_COLUMNS
from prefpaint.preferences.store import RatingStore
from prefpaint.studio.accounts import add_rater, block_rater

KNOWN = pd.DataFrame(
    [(f"train_{p:05d}_{i}", f"train_{p:05d}", f"sum {p} {i}") for p in range(2) for i in range(2)],
    columns=["candidate_id", "prompt_id", "sha256"],
)
HEADER = [*RATING_COLUMNS]
ROWS = [
    ["train_00000_0", "andré", "5", "4", "6", "2026-01-31T14:05:00Z"],
    ["train_00000_1", "Zoë, née Müller", "0", "7", "3", "2026-02-01"],
]


def text(separator: str = ",", end: str = "\n", header: list[str] = HEADER, rows: list[list[str]] = ROWS) -> str:
    def quoted(cell: str) -> str:
        return f'"{cell}"' if separator in cell else cell

    return "".join(separator.join(map(quoted, row)) + end for row in [header, *rows])


def workbook(*sheets: tuple[str, list[list[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def ods() -> bytes:
    """The least that OpenDocument asks for."""

    def cell(value: str) -> str:
        return f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'

    rows = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in [HEADER, *ROWS])
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {names} office:version="1.2"><office:body>'
        f'<office:spreadsheet><table:table table:name="A">{rows}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        entry = '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
        name = 'xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
        archive.writestr("META-INF/manifest.xml", f"<manifest:manifest {name}>{entry}</manifest:manifest>")
    return file.getvalue()


def parquet(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


TABLE = pd.DataFrame(ROWS, columns=HEADER)
TYPED = TABLE.astype(dict.fromkeys(CRITERIA, "int64")).assign(
    rated_at=pd.to_datetime(TABLE["rated_at"], format="ISO8601", utc=True)
)
CELLS = [[*row[:2], *map(int, row[2:5]), row[5]] for row in ROWS]
DATED = [[*CELLS[0][:5], datetime(2026, 1, 31, 14, 5)], [*CELLS[1][:5], date(2026, 2, 1)]]
OBJECTS = [dict(zip(HEADER, row, strict=True)) for row in CELLS]
DIALECTS: dict[str, bytes] = {
    "comma.csv": text().encode(),
    "capitals.CSV": text().encode(),
    "no_ending": text().encode(),
    "semicolon.csv": text(";").encode(),
    "tab.tsv": text("\t").encode(),
    "tab.txt": text("\t").encode(),
    "pipe.csv": text("|").encode(),
    "excel.csv": ("sep=;\r\n" + text(";", "\r\n")).encode(),
    "crlf.csv": text(end="\r\n").encode(),
    "old_mac.csv": text(end="\r").encode(),
    "no_last_line_end.csv": text().rstrip("\n").encode(),
    "utf8_mark.csv": b"\xef\xbb\xbf" + text().encode(),
    "utf16.csv": text().encode("utf-16"),
    "utf16_excel.txt": b"\xff\xfe" + text("\t", "\r\n").encode("utf-16-le"),
    "utf16_be.csv": b"\xfe\xff" + text().encode("utf-16-be"),
    "utf16_unmarked.csv": text().encode("utf-16-le"),
    "utf16_be_unmarked.csv": text().encode("utf-16-be"),
    "utf32.csv": text().encode("utf-32"),
    "latin1.csv": text().encode("latin-1"),
    "windows.csv": text(";", "\r\n").encode("cp1252"),
    "header_capitals.csv": text(header=[name.upper() for name in HEADER]).encode(),
    "header_words.csv": text(header=[name.replace("_", " ").title() for name in HEADER]).encode(),
    "header_hyphens.csv": text(header=[f" {name.replace('_', '-')} " for name in HEADER]).encode(),
    "header_quoted.csv": text(header=[f'"{name}"' for name in HEADER]).encode(),
    "blank_lines.csv": ("\n\n" + text(end="\n\n\n")).encode(),
    "blank_rows.csv": (",,,,,\n" + text() + ",,,,,\n ,, ,,,\n").encode(),
    "trailing.csv": text(end=",\n").encode(),
    "trailing_rows.csv": (",".join(HEADER) + "\n" + text(end=",,,\n").partition("\n")[2]).encode(),
    "trailing_semicolons.csv": text(";", ";;;\n").encode(),
    "spaces.csv": text(", ").replace('"Zoë, née Müller"', '"Zoë, née Müller" ').encode(),
    "decimal_commas.csv": text(";").replace(";5;4;6;", ";5,0;4,00;6,;").encode(),
    "decimal_points.csv": text().replace(",5,4,6,", ",5.0,4.,+6,").encode(),
    "all_quoted.csv": text(rows=[[f'"{cell}"' for cell in row] for row in [ROWS[0]]] + [ROWS[1]]).encode(),
    "more_columns.csv": text(
        header=[*HEADER, *(f"c{n}" for n in range(3000))], rows=[[*row, *["x"] * 3000] for row in ROWS]
    ).encode(),
    "unnamed_columns.csv": text(header=["", "", *HEADER], rows=[["1", "2", *row] for row in ROWS]).encode(),
    "shuffled.csv": text(header=HEADER[::-1], rows=[row[::-1] for row in ROWS]).encode(),
    "long_comment.csv": text(header=[*HEADER, "c"], rows=[[*row, "x" * 200_000] for row in ROWS]).encode(),
    "lines_in_cells.csv": text(
        ";", header=[*HEADER, "c"], rows=[[*ROWS[0], '"two\nlines, ""quoted"""'], [*ROWS[1], ""]]
    ).encode(),
    "packed.csv.gz": gzip.compress(text(";").encode()),
    "packed.CSV.GZ": gzip.compress(text().encode("utf-16")),
    "packed_without_saying.csv": gzip.compress(text().encode()),
    "packed.jsonl.gz": gzip.compress("\n".join(map(json.dumps, OBJECTS)).encode()),
    "lines.jsonl": "\n".join(map(json.dumps, OBJECTS)).encode(),
    "lines.NDJSON": ("\n\n".join(json.dumps(one, ensure_ascii=False) for one in OBJECTS) + "\n").encode(),
    "lines_called.csv": "\n".join(map(json.dumps, OBJECTS)).encode(),
    "rows.json": json.dumps(OBJECTS).encode(),
    "rows.JSON": json.dumps(OBJECTS, indent=2).encode("utf-8-sig"),
    "rows.parquet": parquet(TABLE),
    "typed.PARQUET": parquet(TYPED),
    "parquet_called.csv": parquet(TYPED),
    "naive_times.parquet": parquet(TYPED.assign(rated_at=TYPED["rated_at"].dt.tz_localize(None))),
    "nanoseconds.parquet": parquet(TYPED.assign(rated_at=TYPED["rated_at"].dt.as_unit("ns"))),
    "floats.parquet": parquet(TYPED.astype(dict.fromkeys(CRITERIA, "float32"))),
    "small.parquet": parquet(TYPED.astype(dict.fromkeys(CRITERIA, "uint8"))),
    "nullable.parquet": parquet(TYPED.convert_dtypes()),
    "category.parquet": parquet(TYPED.astype({"rater": "category", "candidate_id": "category"})),
    "decimals.parquet": parquet(TYPED.assign(overall=[Decimal("6.0"), Decimal("3.0")])),
    "index.parquet": parquet(TYPED.set_index("candidate_id")),
    "two_indices.parquet": parquet(TYPED.set_index(["candidate_id", "rater"])),
    "other_index.parquet": parquet(TYPED.set_index(pd.Index([7, 9]))),
    "sheet.xlsx": workbook(("A", [HEADER, *CELLS])),
    "sheet.XLSX": workbook(("A", [HEADER, *DATED])),
    "sheet_called.csv": workbook(("A", [HEADER, *ROWS])),
    "sheet_below.xlsx": workbook(("A", [[], [], [name.upper() for name in HEADER], [], *CELLS, [None] * 6])),
    "sheet_wide.xlsx": workbook(("A", [[*HEADER, None, "note"], *([*row, None, "x"] for row in CELLS)])),
    "second_sheet.xlsx": workbook(("About", [["These are ratings"]]), ("Ratings", [HEADER, *CELLS]), ("Empty", [])),
    "sheet.ods": ods(),
}


def read(folder: Path, name: str, content: bytes | str) -> Imported:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_preferences(path, KNOWN)


def reasons(found: Imported) -> list[str]:
    return [f"{row.place}: {row.reason}" for row in found.rejected]


@pytest.mark.parametrize("name", DIALECTS)
def test_the_same_ratings_are_read_of_every_dialect(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, name, DIALECTS[name])
    assert reasons(found) == []
    shown = found.ratings[HEADER].astype({"rated_at": "str"}).to_numpy().tolist()
    assert shown == [
        ["train_00000_0", "andré", 5, 4, 6, "2026-01-31 14:05:00+00:00"],
        ["train_00000_1", "Zoë, née Müller", 0, 7, 3, "2026-02-01 00:00:00+00:00"],
    ]
    assert found.ratings["structure"].dtype == "int64" and found.ratings["rater"].dtype == "str"


def test_what_had_to_be_guessed_is_told(tmp_path: Path) -> None:
    notes = {name: read(tmp_path, name, content).notes for name, content in DIALECTS.items()}
    assert {name for name, said in notes.items() if said} == {"latin1.csv", "windows.csv", "second_sheet.xlsx"}
    assert notes["latin1.csv"] == ["is not UTF-8 and was read as Windows-1252; check its names, or save it as UTF-8"]
    assert notes["second_sheet.xlsx"] == ["has 2 sheets, of which Ratings is read"]


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\x02\0\0\0\x90\x91h6"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", PNG, "is not a CSV file"),
        ("x.csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\x01\x02", "is not a CSV file"),
        ("x.csv", b"PK\x03\x04" + bytes(50), "is not a workbook that can be read"),
        ("x.xlsx", b"PK\x03\x04" + b"\x1b[2J" * 50, "is not a workbook that can be read"),
        ("x.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is not a workbook that can be read"),
        ("x.xlsx", workbook(("A", [])), "is empty; it needs the columns candidate_id"),
        ("x.xlsx", workbook(("A", [["a", "b"], [1, 2]])), "lacks the column candidate_id"),
        ("x.xlsx", workbook(("A", [HEADER])), "holds no rating"),
        ("x.xlsx", b"", "is empty"),
        ("x.csv.gz", gzip.compress(text().encode())[:-20], "cannot be read"),
        ("x.csv.gz", b"\x1f\x8b" + bytes(40), "cannot be read"),
        ("x.csv", gzip.compress(PNG), "is not a CSV file"),
        ("x.parquet", text().encode(), "is not a Parquet file"),
        ("x.PARQUET", b"\x1b[2Jcandidate", "is not a Parquet file"),
        ("x.json", b"\xff\xfe\x00\xd8", "is not JSON"),
        ("x.JSON", b"{", "is not JSON"),
        ("x.JSON", text().encode(), "is not JSON"),
        ("x.json", PNG, "is not JSON"),
        ("x.csv", b"\xff\xfe\x00\xd8a\0", "is not a CSV file"),
        ("x.csv", text(header=["x\x1b[2J\x07", "\u202e"]).encode(), "lacks the column candidate_id"),
        ("x.csv", ",".join(f"column_{n}" for n in range(5000)).encode(), "and 4992 more"),
        ("x.jsonl", json.dumps({"\ud800": 1, "rater": 2}).encode(), "lacks the column candidate_id"),
        ("x.csv", text(header=[*HEADER[:-1], "Rater"]).encode(), "has the column rater twice; remove one"),
        ("x.csv", b"\n\n\n", "is empty"),
        ("x.csv", b",,,\n;;\n", "lacks the column candidate_id"),
        ("x.csv", b",,,\n,,\n", "is empty"),
        ("x.csv", bytes(500), "is empty|lacks the column"),
    ],
)
def test_what_is_no_table_is_one_printable_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message) as caught:
        read(tmp_path, name, content)
    said = str(caught.value)
    assert said.isprintable() and str(tmp_path / name) in said and len(said) < 700


@pytest.mark.parametrize(
    "time",
    [
        *("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "1970-01-01", "2126-01-31"),
        *(
            "2026",
            "2026-01",
            "20260131",
            "1769868300",
            "46053.5",
            "31.01.2026",
            "31/01/2026 14:05",
            "01/31/26",
            "14:05",
        ),
        *(
            "2026-13-01",
            "2026-02-30",
            "2026-01-31T25:00:00Z",
            "2026-W05-6",
            "２０２６-０１-３１",
            "٢٠٢٦-٠١-٣١",
            "2026-1-31",
        ),
        *("today", "now", "NaT", "nan", "Saturday", "2026-01-31T14:05:00+99:00", "2026-01-31x", "-2026-01-31"),
    ],
)
def test_a_time_that_nobody_rated_at_is_refused(tmp_path: Path, time: str) -> None:
    found = read(tmp_path, "x.csv", text(rows=[[*ROWS[0][:5], time], ROWS[1]]))
    assert len(found.ratings) == 1 and len(found.rejected) == 1
    assert reasons(found)[0].startswith(f"line 2: rated_at is {time}"), reasons(found)


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        ("2026-01-31", "2026-01-31 00:00:00+00:00"),
        ("2026-01-31 14:05", "2026-01-31 14:05:00+00:00"),
        ("2026-01-31T14:05:00.123456Z", "2026-01-31 14:05:00.123456+00:00"),
        ("2026-01-31T14:05:00+0100", "2026-01-31 13:05:00+00:00"),
        ("2026-01-31 14:05:00-08:00", "2026-01-31 22:05:00+00:00"),
        ("2000-01-01T00:00:00Z", "2000-01-01 00:00:00+00:00"),
    ],
)
def test_times_that_are_read(tmp_path: Path, time: str, utc: str) -> None:
    assert str(read(tmp_path, "x.csv", text(rows=[[*ROWS[0][:5], time]])).ratings["rated_at"].iloc[0]) == utc


@pytest.mark.parametrize(("hours", "taken"), [(14, 1), (72, 0)])
def test_a_clock_that_is_a_little_ahead_is_no_mistake(tmp_path: Path, hours: int, taken: int) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=hours)).isoformat()
    found = read(tmp_path, "x.csv", text(rows=[[*ROWS[0][:5], soon], ROWS[1]]))
    assert len(found.ratings) == 1 + taken and len(found.rejected) == 1 - taken


@pytest.mark.parametrize(
    "rating",
    [
        *(
            "٣",
            "３",
            "五",
            "²",
            "Ⅴ",
            "True",
            "true",
            "FALSE",
            "yes",
            "5/7",
            "5e0",
            "0x5",
            "1_0",
            "4.5",
            "4,5",
            "8",
            "-1",
            "1e400",
        ),
        *("5 stars", "inf", "nan", "--5", "5.0.0", "5,0,0", "5\0", "", " ", "\x1b[2J"),
    ],
)
def test_what_is_no_rating_is_refused(tmp_path: Path, rating: str) -> None:
    rows = [[*ROWS[0][:4], rating, ROWS[0][5]], ROWS[1]]
    found = read(tmp_path, "x.csv", text(";", rows=rows))
    assert len(found.ratings) == 1 and len(found.rejected) == 1
    assert reasons(found)[0].startswith("line 2: overall is "), reasons(found)
    assert reasons(found)[0].isprintable()


@pytest.mark.parametrize("rating", [True, False, None, 4.5, 8, -1, [5], {"a": 5}, "\ud800", "٣", float("nan"), 10**30])
def test_what_is_no_rating_is_refused_whatever_its_type(tmp_path: Path, rating: Any) -> None:
    rows = [OBJECTS[0] | {"overall": rating}, OBJECTS[1]]
    found = read(tmp_path, "x.jsonl", "\n".join(map(json.dumps, rows)))
    assert len(found.ratings) == 1 and reasons(found)[0].startswith("line 1: overall is "), reasons(found)
    if isinstance(rating, bool):
        for name, content in {
            "x.parquet": parquet(TYPED.assign(overall=[rating, rating])),
            "x.xlsx": workbook(("A", [HEADER, *([*row[:4], rating, row[5]] for row in CELLS)])),
        }.items():
            found = read(tmp_path, name, content)
            assert found.ratings.empty and f"overall is {rating}" in reasons(found)[0]


@pytest.mark.parametrize("field", ["candidate_id", "rater"])
@pytest.mark.parametrize(
    "value", ["\ud800", "a\udcfcb", None, "", True, 4.5, ["a"], {"a": 1}, "\x1b[2J", "\0", "\u202egpj"]
)
def test_names_that_are_none_are_refused_in_printable_words(tmp_path: Path, field: str, value: Any) -> None:
    rows = [OBJECTS[0] | {field: value}, OBJECTS[1]]
    for name, content in {"x.jsonl": "\n".join(map(json.dumps, rows)), "x.json": json.dumps(rows)}.items():
        found = read(tmp_path, name, content)
        assert len(found.ratings) == 1 and len(found.rejected) == 1
        assert found.rejected[0].reason.isprintable()


def test_numbers_as_names_are_the_same_of_every_program(tmp_path: Path) -> None:
    rows = [[row[0], 7, *row[2:]] for row in CELLS]
    floats = TYPED.assign(rater=[7.0, 7.0])
    found = [
        read(tmp_path, "x.csv", text(rows=[[row[0], "7", *row[2:]] for row in ROWS])),
        read(tmp_path, "x.xlsx", workbook(("A", [HEADER, *rows]))),
        read(tmp_path, "x.parquet", parquet(floats)),
    ]
    assert [set(one.ratings["rater"]) for one in found] == [{"7"}] * 3


# ---------------------------------------------------------------- one person, one rater


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("andré", unicodedata.normalize("NFD", "andré")),
        *(("Anna", other) for other in ("anna", "ANNA", "Ａｎｎａ", " Anna ", "aNNa")),
        ("Zoë Müller", "zoe\u0308  MU\u0308LLER"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("Weiß", "WEISS"),
        ("anna@example.org", "Anna@Example.org"),
        ("가나", unicodedata.normalize("NFD", "가나")),
    ],
)
def test_spellings_of_a_name_are_one_rater(tmp_path: Path, one: str, other: str) -> None:
    found = read(tmp_path, "x.csv", text(rows=[[ROWS[0][0], one, *ROWS[0][2:]], [ROWS[1][0], other, *ROWS[1][2:]]]))
    assert found.ratings["rater"].tolist() == [one, one] and not found.rejected
    assert bool(found.notes) == (other.strip() != one and unicodedata.normalize("NFC", other.strip()) != one)
    # In two files, and in the studio.
    store = RatingStore(tmp_path)
    for number, name in enumerate((one, other)):
        store.add_ratings(read(tmp_path, "x.csv", text(rows=[[ROWS[number][0], name, *ROWS[number][2:]]])).ratings)
    assert set(store.ratings()["rater"]) == {one} and len(store.ratings()) == 2
    assert store.add_ratings(read(tmp_path, "x.csv", text(rows=[[ROWS[0][0], other, *ROWS[0][2:]]])).ratings) == 0
    add_rater(store, other.strip())
    block_rater(store, one)
    store.close()


def test_different_names_are_different_raters() -> None:
    names = ["Anna", "Anne", "Ann", "Hanna", "anna b", "anna-b", "André", "Andre", "1", "2", "Αnna"]
    assert list(spellings(names).values()) == names and len(set(map(same_name, names))) == len(names)


def test_raters_that_an_earlier_version_told_apart_stay_apart() -> None:
    assert spellings(["anna", "ANNA", "Anna"], ["Anna", "anna"]) == {"anna": "anna", "ANNA": "Anna", "Anna": "Anna"}


def test_a_name_of_the_greatest_length_may_be_composed() -> None:
    assert is_name("é" * 64) and not is_name("é" * 65)


# ---------------------------------------------------------------- which of several counts


def later(row: list[str], overall: str, time: str) -> list[str]:
    return [*row[:4], overall, time]


ORDERS: dict[str, Callable[[list[Any]], list[Any]]] = {"in order": list, "backwards": lambda rows: rows[::-1]}


@pytest.mark.parametrize("order", ORDERS)
def test_of_several_ratings_by_one_person_the_latest_counts(tmp_path: Path, order: str) -> None:
    versions = [later(ROWS[0], str(day), f"2026-02-0{day}") for day in (1, 2, 3)]
    found = read(tmp_path, "x.csv", text(rows=[*ORDERS[order](versions), ROWS[1]]))
    assert found.ratings["overall"].tolist() == [3, 3] and len(found.ratings) == 2
    assert len(found.rejected) == 2 and all("later, at 2026-02-03T00:00:00Z, and that" in one for one in reasons(found))
    store = RatingStore(tmp_path)
    for version in ORDERS[order](versions):
        store.add_ratings(read(tmp_path, "x.csv", text(rows=[version])).ratings)
    assert store.ratings()["overall"].tolist() == [3], "the store has the same rule"
    store.close()


def test_of_ratings_of_one_time_equal_ones_are_one_and_different_ones_are_none(tmp_path: Path) -> None:
    same = [ROWS[0], ROWS[0], ROWS[1]]
    found = read(tmp_path, "x.csv", text(rows=same))
    assert len(found.ratings) == 2
    assert reasons(found) == ["line 3: rater andré has already rated candidate train_00000_0; keep one"]
    different = [later(ROWS[0], "1", "2026-01-01"), ROWS[0], later(ROWS[0], "2", ROWS[0][5]), ROWS[1]]
    found = read(tmp_path, "x.csv", text(rows=different))
    assert found.ratings["candidate_id"].tolist() == ["train_00000_1"]
    assert [row.place for row in found.rejected] == ["line 2", "line 3", "line 4"]
    assert "differently at the same time, so that it is unknown which counts; keep one" in reasons(found)[1]


PAIRS = ["candidate_a", "candidate_b", "preferred", "rater", "rated_at"]


@pytest.mark.parametrize("order", ORDERS)
def test_of_several_comparisons_the_latest_counts_whichever_way_round(tmp_path: Path, order: str) -> None:
    first, second = "train_00000_0", "train_00000_1"
    rows = [[first, second, "a", "Anna", "2026-01-01"], [second, first, "A", "anna", "2026-01-02"]]
    found = read(tmp_path, "x.csv", text(header=PAIRS, rows=ORDERS[order](rows)))
    assert found.comparisons["preferred"].tolist() == ["b"] and len(found.rejected) == 1
    contradiction = [[first, second, "a", "anna", "2026-01-01"], [second, first, "a", "anna", "2026-01-01"]]
    found = read(tmp_path, "x.csv", text(header=PAIRS, rows=contradiction))
    assert found.comparisons.empty and len(found.rejected) == 2


def test_a_comparison_of_other_pictures_is_none_of_these(tmp_path: Path) -> None:
    header, row = [*PAIRS, "sha256_a", "sha256_b"], ["train_00000_1", "train_00000_0", "a", "anna", "2026-01-01"]
    rows = [
        [*row, "sum 0 1", "sum 0 0"],
        [*row[:3], "ben", row[4], "sum 0 1", "before"],
        [*row[:3], "cyd", row[4], "", ""],
    ]
    found = read(tmp_path, "x.csv", text(header=header, rows=rows))
    assert found.comparisons["rater"].tolist() == ["anna", "cyd"]
    assert reasons(found) == [
        "line 3: candidate train_00000_0 has since been regenerated: the rating is of another picture"
    ]


def task(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {"data": label_studio_tasks(KNOWN, "")[0]["data"], "annotations": list(annotations)}


def annotation(overall: list[Any], time: str, **more: Any) -> dict[str, Any]:
    scores = [("structure_1", 1), ("texture_1", 2), *(("overall_1", score) for score in overall)]
    result = [{"from_name": name, "to_name": "candidate_1", "value": {"choices": [score]}} for name, score in scores]
    return {"result": result, "completed_by": 7, "updated_at": time, **more}


@pytest.mark.parametrize("order", ORDERS)
def test_of_two_annotations_by_one_person_the_later_counts(tmp_path: Path, order: str) -> None:
    both = ORDERS[order]([annotation(["3"], "2026-01-01T00:00:00Z"), annotation(["5"], "2026-01-02T00:00:00Z")])
    found = read(tmp_path, "x.JSON", json.dumps([task(*both)]))
    assert found.ratings["overall"].tolist() == [5] and len(found.rejected) == 1
    split = json.dumps([task(both[0]), task(both[1])])
    assert read(tmp_path, "x.json", split).ratings["overall"].tolist() == [5]


def test_of_two_regions_that_contradict_each_other_none_counts(tmp_path: Path) -> None:
    found = read(tmp_path, "x.json", json.dumps([task(annotation(["3", "5"], "2026-01-01"))]))
    assert found.ratings.empty
    assert reasons(found) == [
        "task 1, annotation 1: overall of candidate_1 is given more than once, as 3 and 5; keep one"
    ]
    found = read(tmp_path, "x.json", json.dumps([task(annotation(["3", 3], "2026-01-01"))]))
    assert found.ratings["overall"].tolist() == [3] and not found.rejected


@pytest.mark.parametrize("time", ["9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2026", 2026, True, [2026]])
def test_times_and_raters_of_annotations_are_checked_too(tmp_path: Path, time: Any) -> None:
    bad = [annotation(["3"], time), annotation(["4"], "2026-01-01", completed_by=True)]
    found = read(tmp_path, "x.json", json.dumps([task(*bad, annotation(["5"], "2026-01-01"))]))
    assert found.ratings["overall"].tolist() == [5] and len(found.rejected) == 2


def test_surrogates_in_annotations_are_no_traceback(tmp_path: Path) -> None:
    one = annotation(["3"], "2026-01-01", completed_by={"email": "\ud800@example.org"})
    two = annotation(["\ud800"], "2026-01-01")
    three = json.loads(json.dumps(annotation(["4"], "2026-01-01")).replace("candidate_1", "\\ud800"))
    found = read(tmp_path, "x.json", json.dumps([task(one, two, three)]))
    assert found.ratings.empty and len(found.rejected) == 3
    assert all(row.reason.isprintable() for row in found.rejected)


# ---------------------------------------------------------------- quotation marks


@pytest.mark.parametrize(
    "rows",
    [
        [[*ROWS[0], '"good'], [*ROWS[1], "fine"]],
        [[*ROWS[0], '"good'], [*ROWS[1], '"fine']],
        [[*ROWS[0], '"good, all'], [*ROWS[1], "fine"], [*ROWS[1], "fine"]],
    ],
)
def test_an_open_quotation_mark_swallows_nothing_silently(tmp_path: Path, rows: list[list[str]]) -> None:
    content = "\n".join(
        ",".join(f'"{cell}"' if cell.startswith("Zoë") else cell for cell in row) for row in [[*HEADER, "c"], *rows]
    )
    found = read(tmp_path, "x.csv", content)
    assert len(found.ratings) == len(rows) - 2 and reasons(found)[0].startswith(
        "line 2: a quotation mark is not closed and takes in all"
    )


def test_inches_in_a_cell_are_no_quotation(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv", text(header=[*HEADER, "screen"], rows=[[*ROWS[0], '24"'], [*ROWS[1], '27" wide']]))
    assert len(found.ratings) == 2 and not found.rejected


def test_exports_come_back_unchanged_whatever_the_names(tmp_path: Path) -> None:
    found = read(tmp_path, "x.csv", text()).ratings
    pd.testing.assert_frame_equal(read(tmp_path, "y.csv", to_csv(found)).ratings, found)
    assert np.array_equal(found["overall"], [6, 3])


def test_a_time_to_come_that_is_in_the_store_already_does_not_win(tmp_path: Path) -> None:
    store, good = RatingStore(tmp_path), read(tmp_path, "x.csv", text(rows=ROWS[:1])).ratings
    for year, overall in ((9999, 1), (2026, 2), (9999, 3)):
        time = pd.Timestamp(f"{year}-01-01", tz="UTC").as_unit("us")
        store.add_ratings(good.assign(overall=overall, rated_at=time))
    assert store.ratings()["overall"].tolist() == [2]
    store.close()
