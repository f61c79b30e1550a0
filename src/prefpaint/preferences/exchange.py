"""Ratings and comparisons from files of other programs and back."""

import json
import re
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file
from prefpaint.preferences.label_studio import annotation_rows
from prefpaint.preferences.names import NAME_RULE, composed, is_name, spellings
from prefpaint.preferences.rows import Rejected, Rows, is_empty, shown
from prefpaint.preferences.schema import COMPARISON_COLUMNS, CRITERIA, OUTCOMES, RATING_COLUMNS
from prefpaint.tables import File, open_table, read_table, records, show_columns

# Which columns of a candidate go with which columns of its picture's SHA-256.
RATED_PICTURES = {"candidate_id": "sha256"}
COMPARED_PICTURES = {"candidate_a": "sha256_a", "candidate_b": "sha256_b"}
# Columns that are looked for.
KNOWN = tuple(
    dict.fromkeys([*RATING_COLUMNS, *COMPARISON_COLUMNS, *RATED_PICTURES.values(), *COMPARED_PICTURES.values()])
)


@dataclass(frozen=True)
class Imported:
    """What a file held.

    Attributes:
        path: the file.
        ratings: RATING_COLUMNS and sha256, sorted by candidate and rater: str, str, three int64 in 0-7, timestamps
            in UTC, str. One row for each candidate and rater.
        comparisons: COMPARISON_COLUMNS, sha256_a and sha256_b, candidate_a < candidate_b; one for each pair and rater.
        rejected: the other rows, in the order of the file.
        notes: what the user should know about how the file was read, as sentences that follow on its name.
    """

    path: Path
    ratings: pd.DataFrame
    comparisons: pd.DataFrame
    rejected: list[Rejected]
    notes: list[str] = field(default_factory=list)


def read_preferences(path: Path, candidates: pd.DataFrame) -> Imported:
    """Read ratings or comparisons from a file of people's work.

    Tables (`prefpaint.tables`: CSV of any dialect, workbooks, JSON Lines, Parquet, also packed by gzip) hold either
    ratings (RATING_COLUMNS) or comparisons (COMPARISON_COLUMNS); further columns are ignored. JSON is what Label Studio
    exports of the tasks of `label_studio.label_studio_tasks`, or a list of such rows. Times without a zone are taken as
    UTC. Columns sha256, or sha256_a and sha256_b (as exports have them), say which pictures were rated, and rows about
    pictures that have since been regenerated are rejected; where they are missing or empty, a row is taken to be about
    today's.

    Of several rows by one rater about the same, the latest counts, as it does in the store. Where the latest are of one
    time, and differ, none is taken.

    Args:
        path: the file.
        candidates: candidate_id, prompt_id, sha256 of all existing candidates.

    Raises:
        PrefPaintError: the file is missing, empty or of another kind, or lacks a column. Rows that are wrong are
            `rejected` instead.
    """
    if not path.is_file():
        raise PrefPaintError(f"{path} was not found; give the file that holds the ratings")
    file = open_table(path)
    rows = _json_rows(file) if file.kind == "json" else _table_rows(file)
    compares = {"candidate_a", "candidate_b"} & set(rows.table.columns)
    needed = COMPARISON_COLUMNS if compares else RATING_COLUMNS
    missing = [name for name in needed if name not in rows.table.columns]
    if missing:
        raise PrefPaintError(
            f"{path}: lacks the column {', '.join(missing)}; it needs {', '.join(needed)}, and has "
            f"{show_columns(list(rows.table.columns))}"
        )
    if rows.table.empty and not rows.rejected:
        raise PrefPaintError(f"{path}: holds no rating, only a header; add rows")
    read = _check_comparisons if compares else _check_ratings
    table = read(rows, candidates.set_index("candidate_id"))
    rejected = sorted(rows.rejected, key=lambda row: [int(number) for number in re.findall(r"\d+", row.place)])
    empty = pd.DataFrame(columns=[*RATING_COLUMNS]), pd.DataFrame(columns=[*COMPARISON_COLUMNS])
    return Imported(path, *((empty[0], table) if compares else (table, empty[1])), rejected, rows.notes)


def _table_rows(file: File) -> Rows:
    table = read_table(file, KNOWN)
    places = pd.Series([f"{table.unit} {number}" for number in table.numbers], index=table.cells.index, dtype=object)
    rejected = [Rejected(f"{table.unit} {number}", reason) for number, reason in table.faults]
    return Rows(file.path, table.cells, places, rejected, list(table.notes))


def _json_rows(file: File) -> Rows:
    """Label Studio's tasks, or a list of rows."""
    text, notes = file.text()
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PrefPaintError(f"{file.path}: is not JSON ({error}); export the project as JSON again") from error
    if not isinstance(given, list):
        raise PrefPaintError(f"{file.path}: holds no list of tasks; export the project as JSON (not JSON-MIN) again")
    if given and isinstance(given[0], dict) and set(given[0]) & set(KNOWN):
        table = records(enumerate(given, 1), "row", notes)
        places = pd.Series([f"row {number}" for number in table.numbers], index=table.cells.index, dtype=object)
        return Rows(file.path, table.cells, places, [Rejected(f"row {n}", why) for n, why in table.faults], notes)
    rows: list[dict[str, Any]] = []
    places, rejected = [], []
    for place, found in annotation_rows(given):
        if isinstance(found, str):
            rejected.append(Rejected(place, found))
        else:
            rows.append(found)
            places.append(place)
    columns = {name: pd.Series([row[name] for row in rows], dtype=object) for name in RATING_COLUMNS}
    return Rows(file.path, pd.DataFrame(columns), pd.Series(places, dtype=object), rejected, notes)


def _check_ratings(rows: Rows, candidates: pd.DataFrame) -> pd.DataFrame:
    _check_common(rows, candidates, RATED_PICTURES)
    for name in CRITERIA:
        rows.numbers(name)
    _keep_latest(
        rows,
        rows.table,
        ["candidate_id", "rater"],
        [*CRITERIA],
        lambda row: f"rater {row['rater']} has already rated candidate {row['candidate_id']}",
    )
    ratings = rows.table[[*RATING_COLUMNS]].astype({"candidate_id": "str", "rater": "str"})
    ratings["sha256"] = ratings["candidate_id"].map(candidates["sha256"])
    return ratings.sort_values(["candidate_id", "rater"], ignore_index=True)


def _check_comparisons(rows: Rows, candidates: pd.DataFrame) -> pd.DataFrame:
    _check_common(rows, candidates, COMPARED_PICTURES)
    rows.reject(
        rows.table["candidate_a"] == rows.table["candidate_b"],
        lambda row: f"candidate {row['candidate_a']} is compared with itself; remove the row",
    )
    first, second = (rows.table[name].map(candidates["prompt_id"]) for name in COMPARED_PICTURES)
    rows.reject(
        first != second,
        lambda row: f"{row['candidate_a']} and {row['candidate_b']} are of different prompts; compare within a prompt",
    )
    outcomes = rows.table["preferred"].map(lambda cell: cell.strip().lower() if isinstance(cell, str) else None)
    rows.reject(~outcomes.isin(OUTCOMES), lambda row: f"preferred is {shown(row['preferred'])}; write a, b or tie")
    table = rows.table[[*COMPARISON_COLUMNS]].assign(preferred=outcomes[rows.table.index])
    turned = table["candidate_a"] > table["candidate_b"]
    table.loc[turned, ["candidate_a", "candidate_b"]] = table.loc[turned, ["candidate_b", "candidate_a"]].to_numpy()
    table.loc[turned, "preferred"] = table.loc[turned, "preferred"].map({"a": "b", "b": "a", "tie": "tie"})
    _keep_latest(
        rows,
        table,
        ["candidate_a", "candidate_b", "rater"],
        ["preferred"],
        lambda row: f"rater {row['rater']} has compared {row['candidate_a']} and {row['candidate_b']} before",
    )
    table = table.loc[rows.table.index].astype(
        dict.fromkeys(["candidate_a", "candidate_b", "preferred", "rater"], "str")
    )
    for candidate, picture in COMPARED_PICTURES.items():
        table[picture] = table[candidate].map(candidates["sha256"])
    return table.sort_values(["candidate_a", "candidate_b", "rater"], ignore_index=True)


def _check_common(rows: Rows, candidates: pd.DataFrame, pictures: dict[str, str]) -> None:
    """Reject rows without names, of unknown candidates or other pictures, or without a time."""
    for name in (*pictures, "rater"):
        rows.texts(name)
    rows.table = rows.table.assign(rater=rows.table["rater"].map(composed))
    rows.reject(
        ~rows.table["rater"].map(is_name).astype(bool),
        lambda row: f"rater {row['rater']!r} is not a valid name; {NAME_RULE}",
    )
    spelled = spellings(rows.table["rater"].unique())
    if others := [name for name, kept in spelled.items() if name != kept]:
        rows.notes.append(
            f"spells raters in several ways, and each is taken for one: {others[0]} and {spelled[others[0]]}"
            f"{f', and {len(others) - 1} more' if len(others) > 1 else ''}"
        )
    rows.table = rows.table.assign(rater=rows.table["rater"].map(spelled))
    for name in pictures:
        rows.reject(~rows.table[name].isin(candidates.index), partial(_say_unknown, name))
    for candidate, picture in pictures.items():
        if picture in rows.table:
            now = rows.table[candidate].map(candidates["sha256"])
            rows.reject(
                ~rows.table[picture].map(is_empty) & (rows.table[picture].map(str).str.strip() != now),
                partial(_say_regenerated, candidate),
            )
    rows.times("rated_at")


def _say_unknown(name: str, row: pd.Series) -> str:
    return f"candidate {shown(row[name])} is unknown; remove the row or correct the id"


def _say_regenerated(candidate: str, row: pd.Series) -> str:
    return f"candidate {row[candidate]} has since been regenerated: the rating is of another picture"


def _keep_latest(rows: Rows, table: pd.DataFrame, key: list[str], said: list[str], say: Any) -> None:
    """Of several rows by one rater about the same keep the latest, or none if the latest contradict each other.

    Args:
        rows: from which the others are rejected.
        table: the same rows, in the form in which `key` and `said` can be compared.
        key: columns of who rates what.
        said: columns of the opinion.
        say: begins the reason.
    """
    latest = table.groupby(key, sort=False)["rated_at"].transform("max")
    rows.reject(
        table["rated_at"] < latest,
        lambda row: f"{say(row)}, later, at {latest[row.name]:%Y-%m-%dT%H:%M:%SZ}, and that counts; remove this row",
    )
    table = table.loc[rows.table.index]
    again = table.duplicated([*key, *said])
    rows.reject(again, lambda row: f"{say(row)}; keep one")
    table = table.loc[rows.table.index]
    rows.reject(
        table.duplicated(key, keep=False),
        lambda row: f"{say(row)} differently at the same time, so that it is unknown which counts; keep one",
    )


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, or as Parquet if the name ends in .parquet; whole or not at all.

    Raises:
        PrefPaintError: the name has another ending.
    """
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise PrefPaintError(f"{path}: end the name in .csv or .parquet")
    with whole_file(path) as temporary:
        if path.suffix.lower() == ".csv":
            temporary.write_text(to_csv(table), encoding="utf-8")
        else:
            table.to_parquet(temporary, index=False)


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV text, times as ISO 8601 in UTC; what `read_preferences` reads."""
    times = table["rated_at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(table.assign(rated_at=times).to_csv(index=False, lineterminator="\n"))
