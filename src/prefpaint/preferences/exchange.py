"""Ratings and comparisons from files of other programs and back: CSV, Parquet, Label Studio's JSON."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file
from prefpaint.preferences.schema import COMPARISON_COLUMNS, CRITERIA, HIGHEST, LOWEST, OUTCOMES, RATING_COLUMNS

LONGEST_NAME = 64
NAME_RULE = f"use up to {LONGEST_NAME} printable characters, not beginning with =, +, - or @"


@dataclass(frozen=True)
class Rejected:
    """A row that was not accepted.

    Attributes:
        place: where it is, counted as the user's program counts: "line 7", "row 7", "task 3, annotation 12".
        reason: what is wrong and what to do.
    """

    place: str
    reason: str


@dataclass
class _Rows:
    """A user's rows as they were written; each is accepted, or rejected for the first thing that is wrong with it."""

    path: Path
    table: pd.DataFrame
    places: pd.Series
    rejected: list[Rejected] = field(default_factory=list)

    def reject(self, bad: pd.Series, say: Callable[[pd.Series], str]) -> None:
        """Reject the rows where `bad` holds; `say` gets each row as it was written."""
        for index in bad.index[bad.to_numpy(bool)]:
            self.rejected.append(Rejected(str(self.places[index]), say(self.table.loc[index])))
        self.table = self.table[~bad.to_numpy(bool)]

    def texts(self, name: str) -> pd.Series:
        """A column of names, empty ones rejected."""
        self.reject(self.table[name].isna() | (self.table[name].astype("str") == ""), partial(_say_empty, name))
        return self.table[name].astype("str")


@dataclass(frozen=True)
class Imported:
    """What a file held.

    Attributes:
        path: the file.
        ratings: RATING_COLUMNS and sha256, sorted by candidate and rater: str, str, three int64 in 0-7, timestamps
            in UTC, str.
        comparisons: COMPARISON_COLUMNS, sha256_a and sha256_b, candidate_a < candidate_b.
        rejected: the other rows, in the order of the file.
    """

    path: Path
    ratings: pd.DataFrame
    comparisons: pd.DataFrame
    rejected: list[Rejected]


def read_preferences(path: Path, candidates: pd.DataFrame) -> Imported:
    """Read ratings or comparisons from a file of people's work.

    CSV (UTF-8) and Parquet hold either ratings (RATING_COLUMNS) or comparisons (COMPARISON_COLUMNS); further columns
    are ignored. JSON is what Label Studio exports of the tasks of `label_studio_tasks`. Times without a zone are
    taken as UTC. A column sha256 (as exports have it) says which picture was rated, and rows about pictures that have
    since been regenerated are rejected; without it they are taken to be about today's.

    Args:
        path: the file; its ending tells what it is.
        candidates: candidate_id, prompt_id, sha256 of all existing candidates.

    Raises:
        PrefPaintError: the file is missing, empty or of another kind, or lacks a column. Rows that are wrong are
            `rejected` instead.
    """
    if not path.is_file():
        raise PrefPaintError(f"{path} was not found; give the file that holds the ratings")
    if path.suffix == ".json":
        rows = _read_label_studio(path)
    else:
        rows = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    if rows.table.columns.duplicated().any():
        twice = rows.table.columns[rows.table.columns.duplicated()][0]
        raise PrefPaintError(f"{path}: has the column {twice} twice; remove one")
    compares = {"candidate_a", "candidate_b"} & set(rows.table.columns)
    needed = COMPARISON_COLUMNS if compares else RATING_COLUMNS
    missing = [name for name in needed if name not in rows.table.columns]
    if missing:
        raise PrefPaintError(
            f"{path}: lacks the column {', '.join(missing)}; it needs {', '.join(needed)}, and has "
            f"{', '.join(map(str, rows.table.columns))}"
        )
    if rows.table.empty and not rows.rejected:
        raise PrefPaintError(f"{path}: holds no rating, only a header; add rows")
    read = _check_comparisons if compares else _check_ratings
    table = read(rows, candidates.set_index("candidate_id"))
    rejected = sorted(rows.rejected, key=lambda row: [int(number) for number in re.findall(r"\d+", row.place)])
    empty = pd.DataFrame(columns=[*RATING_COLUMNS]), pd.DataFrame(columns=[*COMPARISON_COLUMNS])
    return Imported(path, *((empty[0], table) if compares else (table, empty[1])), rejected)


def _check_ratings(rows: _Rows, candidates: pd.DataFrame) -> pd.DataFrame:
    _check_common(rows, candidates, ["candidate_id"])
    if "sha256" in rows.table:
        rows.reject(
            rows.table["sha256"].astype("str") != rows.table["candidate_id"].map(candidates["sha256"]),
            lambda row: f"candidate {row['candidate_id']} has since been regenerated: the rating is of another picture",
        )
    for name in CRITERIA:
        values = _numbers(rows.table[name])
        rows.reject(~(values.between(LOWEST, HIGHEST) & (values % 1 == 0)), partial(_say_rating, name))
    rows.reject(
        rows.table.duplicated(["candidate_id", "rater"]),
        lambda row: f"rater {row['rater']} has already rated candidate {row['candidate_id']}; keep one of the rows",
    )
    ratings = rows.table[[*RATING_COLUMNS]].copy()
    for name in CRITERIA:
        ratings[name] = _numbers(ratings[name]).astype("int64")
    ratings["rated_at"] = _times(ratings["rated_at"])
    ratings["sha256"] = ratings["candidate_id"].map(candidates["sha256"])
    return ratings.sort_values(["candidate_id", "rater"], ignore_index=True)


def _check_comparisons(rows: _Rows, candidates: pd.DataFrame) -> pd.DataFrame:
    _check_common(rows, candidates, ["candidate_a", "candidate_b"])
    rows.reject(
        rows.table["candidate_a"] == rows.table["candidate_b"],
        lambda row: f"candidate {row['candidate_a']} is compared with itself; remove the row",
    )
    prompts = (rows.table[name].map(candidates["prompt_id"]) for name in ("candidate_a", "candidate_b"))
    first, second = prompts
    rows.reject(
        first != second,
        lambda row: f"{row['candidate_a']} and {row['candidate_b']} are of different prompts; compare within a prompt",
    )
    rows.reject(
        ~rows.table["preferred"].isin(OUTCOMES),
        lambda row: f"preferred is {_shown(row['preferred'])}; write a, b or tie",
    )
    table = rows.table[[*COMPARISON_COLUMNS]].copy()
    turned = table["candidate_a"] > table["candidate_b"]
    table.loc[turned, ["candidate_a", "candidate_b"]] = table.loc[turned, ["candidate_b", "candidate_a"]].to_numpy()
    table.loc[turned, "preferred"] = table.loc[turned, "preferred"].map({"a": "b", "b": "a", "tie": "tie"})
    rows.reject(
        table.duplicated(["candidate_a", "candidate_b", "rater"]),
        lambda row: f"rater {row['rater']} has compared {row['candidate_a']} and {row['candidate_b']} before; keep one",
    )
    table = table.loc[rows.table.index]
    table["rated_at"] = _times(table["rated_at"])
    for end in ("a", "b"):
        table[f"sha256_{end}"] = table[f"candidate_{end}"].map(candidates["sha256"])
    return table.sort_values(["candidate_a", "candidate_b", "rater"], ignore_index=True)


def _check_common(rows: _Rows, candidates: pd.DataFrame, columns: list[str]) -> None:
    """Reject rows without names, of unknown candidates, or without a time."""
    for name in (*columns, "rater"):
        values = rows.texts(name)
        rows.table = rows.table.assign(**{name: values})
    rows.reject(
        ~rows.table["rater"].map(is_name),
        lambda row: f"rater {row['rater']!r} is not a valid name; {NAME_RULE}",
    )
    for name in columns:
        rows.reject(
            ~rows.table[name].isin(candidates.index),
            partial(_say_unknown, name),
        )
    rows.reject(
        _times(rows.table["rated_at"]).isna(),
        lambda row: f"rated_at is {_shown(row['rated_at'])}; write times like 2026-01-31T14:05:00Z",
    )


def is_name(name: str) -> bool:
    """Whether a rater can have this name; see `NAME_RULE`."""
    # A spreadsheet that opens an export would take =, +, - and @ for the beginning of a formula.
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip() and name[0] not in "=+-@"


def _times(values: pd.Series) -> pd.Series:
    """UTC timestamps, NaT where it cannot be read."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values.astype("str"), utc=True, format="ISO8601", errors="coerce").dt.as_unit("us")
    return pd.to_datetime(values, utc=True).dt.as_unit("us")


def _numbers(values: pd.Series) -> pd.Series:
    """float64, NaN where it cannot be read."""

    def read(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            return float("nan")

    return values.map(read).astype("float64")


def _shown(value: Any) -> str:
    """A cell as it was written; a long one is cut."""
    empty = pd.api.types.is_scalar(value) and pd.isna(value)
    return "empty" if empty or not str(value) else str(value)[:80]


def _say_empty(name: str, row: pd.Series) -> str:
    return f"{name} is empty; fill it in"


def _say_unknown(name: str, row: pd.Series) -> str:
    return f"candidate {row[name]} is unknown; remove the row or correct the id"


def _say_rating(name: str, row: pd.Series) -> str:
    return f"{name} is {_shown(row[name])}; ratings are whole numbers from {LOWEST} to {HIGHEST}"


def _read_csv(path: Path) -> _Rows:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            lines, rows, rejected = [], [], []
            end = reader.line_num
            for row in reader:
                start, end = end + 1, reader.line_num
                if not row:
                    continue
                if len(row) != len(header):
                    reason = f"has {len(row)} fields where the header has {len(header)}; correct the line"
                    if end > start:
                        reason = f"a quotation mark is not closed and takes in all up to line {end}; close it"
                    rejected.append(Rejected(f"line {start}", reason))
                    continue
                lines.append(f"line {start}")
                rows.append([value.strip() for value in row])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PrefPaintError(
            f"{path}: is not a CSV file ({error}); save the ratings as comma-separated UTF-8 text or as .parquet"
        ) from error
    if not header:
        raise PrefPaintError(f"{path}: is empty; it needs the columns {', '.join(RATING_COLUMNS)}")
    table = pd.DataFrame(rows, columns=header, dtype="str")
    return _Rows(path, table, pd.Series(lines, index=table.index, dtype="str"), rejected)


def _read_parquet(path: Path) -> _Rows:
    try:
        table = pd.read_parquet(path).reset_index(drop=True)
    except (OSError, ValueError) as error:
        raise PrefPaintError(f"{path}: is not a Parquet file ({error}); write it again") from error
    return _Rows(path, table, pd.Series([f"row {number + 1}" for number in range(len(table))], dtype="str"))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, or as Parquet if the name ends in .parquet; whole or not at all.

    Raises:
        PrefPaintError: the name has another ending.
    """
    if path.suffix not in (".csv", ".parquet"):
        raise PrefPaintError(f"{path}: end the name in .csv or .parquet")
    with whole_file(path) as temporary:
        if path.suffix == ".csv":
            temporary.write_text(to_csv(table), encoding="utf-8")
        else:
            table.to_parquet(temporary, index=False)


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV text, times as ISO 8601 in UTC; what `read_preferences` reads."""
    times = table["rated_at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(table.assign(rated_at=times).to_csv(index=False, lineterminator="\n"))


# ---------------------------------------------------------------- Label Studio


def label_studio_config(candidates: int) -> str:
    """The labelling configuration for tasks of so many candidates: XML for a project's settings.

    Scores are `Choices` from 0 to 7, because Label Studio's stars start at 1.
    """
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    view = Element("View")
    SubElement(view, "Header", value="The picture with its hole, and its candidates")
    SubElement(view, "Image", name="incomplete", value="$incomplete", zoom="true")
    SubElement(view, "Text", name="scale", value="$scale")
    for number in range(1, candidates + 1):
        SubElement(view, "Header", value=f"Candidate {number}", size="4")
        SubElement(view, "Image", name=f"candidate_{number}", value=f"$candidate_{number}", zoom="true")
        for criterion in CRITERIA:
            SubElement(view, "Header", value=criterion, size="5")
            choices = SubElement(
                view,
                "Choices",
                name=f"{criterion}_{number}",
                toName=f"candidate_{number}",
                choice="single-radio",
                showInline="true",
                required="true",
            )
            for score in range(LOWEST, HIGHEST + 1):
                SubElement(choices, "Choice", value=str(score))
    indent(view)
    return tostring(view, encoding="unicode") + "\n"


def label_studio_tasks(candidates: pd.DataFrame, address: str) -> list[dict[str, Any]]:
    """One task per prompt, for Label Studio's import.

    Args:
        candidates: candidate_id and prompt_id, in the order in which they are to be shown.
        address: what comes before an image's file name: where the labelling program finds the exported images.

    Returns:
        data: prompt_id, scale (words), incomplete (address), and per candidate its address and id.
    """
    scale = "0-2 failure; 3-5 roughly right, with flaws; 6-7 reasonable and complete"
    tasks = []
    for prompt_id, group in candidates.groupby("prompt_id", sort=True):
        data = {"prompt_id": prompt_id, "scale": scale, "incomplete": f"{address}{prompt_id}.png"}
        for number, name in enumerate(group["candidate_id"], 1):
            data |= {f"candidate_{number}": f"{address}{name}.png", f"candidate_{number}_id": name}
        tasks.append({"data": data})
    return tasks


def _read_label_studio(path: Path) -> _Rows:
    """Rows of what Label Studio exports as JSON; see its "Label Studio JSON format of annotated tasks"."""
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise PrefPaintError(f"{path}: is not JSON ({error}); export the project as JSON again") from error
    if not isinstance(tasks, list):
        raise PrefPaintError(f"{path}: holds no list of tasks; export the project as JSON (not JSON-MIN) again")
    rows: list[dict[str, Any]] = []
    places: list[str] = []
    rejected: list[Rejected] = []
    for number, task in enumerate(tasks, 1):
        for place, found in _annotations(task, number):
            if isinstance(found, str):
                rejected.append(Rejected(place, found))
                continue
            rows += found
            places += [place] * len(found)
    table = pd.DataFrame(rows, columns=[*RATING_COLUMNS]).astype(object)
    # Several rows can share one place; the order of the file is kept by the places' first appearance.
    return _Rows(path, table, pd.Series(places, index=table.index, dtype="str"), rejected)


def _annotations(task: Any, number: int) -> Iterator[tuple[str, list[dict[str, Any]] | str]]:
    """Each annotation's place, and its rows or what is wrong with it."""
    place = f"task {number}"
    if not isinstance(task, Mapping) or not isinstance(task.get("data"), Mapping):
        yield place, "has no data; export the project as JSON (not JSON-MIN) again"
        return
    annotations = task.get("annotations")
    if not isinstance(annotations, list):
        yield place, "has no list of annotations; export the project as JSON (not JSON-MIN) again"
        return
    data = task["data"]
    ids = {name.removesuffix("_id"): value for name, value in data.items() if str(name).endswith("_id")}
    ids.pop("prompt", None)
    for index, annotation in enumerate(annotations, 1):
        here = f"{place}, annotation {index}"
        if not isinstance(annotation, Mapping) or not isinstance(annotation.get("result"), list):
            yield here, "has no result; remove it"
            continue
        if annotation.get("was_cancelled"):
            yield here, "was skipped by its annotator"
            continue
        scores: dict[str, dict[str, Any]] = {}
        for result in annotation["result"]:
            if isinstance(result, Mapping) and isinstance(result.get("value"), Mapping):
                criterion = str(result.get("from_name", "")).rpartition("_")[0]
                if criterion in CRITERIA:
                    scores.setdefault(str(result.get("to_name")), {})[criterion] = _score(result["value"])
        who = annotation.get("completed_by")
        rater = (who.get("email") or who.get("id")) if isinstance(who, Mapping) else who
        rater = f"label-studio-{rater}" if isinstance(rater, int) else rater
        rows = [
            {
                "candidate_id": ids.get(shown, f"{shown} of {data.get('prompt_id')}"),
                "rater": rater,
                **{criterion: given.get(criterion) for criterion in CRITERIA},
                "rated_at": annotation.get("updated_at") or annotation.get("created_at"),
            }
            for shown, given in sorted(scores.items())
        ]
        yield here, rows or "rates nothing under the names of our labelling configuration; rate it or remove it"


def _score(value: Mapping[str, Any]) -> Any:
    """The number in a result of `Choices`, `Rating` or `Number`."""
    choices = value.get("choices")
    if isinstance(choices, list) and len(choices) == 1:
        return choices[0]
    return value.get("rating", value.get("number"))


def label_studio_folder(
    folder: Path, candidates: pd.DataFrame, images: Callable[[str], np.ndarray], address: str
) -> None:
    """Write tasks.json, labelling.xml and the images that they name into a folder, whole or not at all.

    Args:
        folder: must not exist yet.
        candidates: as for `label_studio_tasks`.
        images: by prompt id the picture with its hole, by candidate id the candidate; (H, W, 3) uint8.
        address: as for `label_studio_tasks`.

    Raises:
        PrefPaintError: the folder exists, or cannot be written.
    """
    from prefpaint.files import whole_folder
    from prefpaint.images import write_image

    if folder.exists():
        raise PrefPaintError(f"{folder}: already exists; name a new folder")
    with whole_folder(folder) as temporary:
        tasks = label_studio_tasks(candidates, address)
        (temporary / "tasks.json").write_text(json.dumps(tasks, indent=1), encoding="utf-8")
        largest = int(candidates.groupby("prompt_id").size().max())
        (temporary / "labelling.xml").write_text(label_studio_config(largest), encoding="utf-8")
        (temporary / "images").mkdir()
        for name in (*candidates["prompt_id"].unique(), *candidates["candidate_id"]):
            write_image(temporary / "images" / f"{name}.png", images(name))
