"""What a rating is, and reading a user's file of them."""

import csv
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from prefpaint.errors import PrefPaintError

CRITERIA = ("structure", "texture", "overall")
# The paper's, section 3; in the order of CRITERIA.
WEIGHTS = (0.15, 0.15, 0.70)
# The paper asks for 1-7; its labelling platform also allowed 0.
LOWEST, HIGHEST = 0, 7
RATING_COLUMNS = ("candidate_id", "rater", *CRITERIA, "rated_at")


@dataclass(frozen=True)
class _Rows:
    """A user's rows, their index counting as the user's program does: lines of a text, rows of a table."""

    path: Path
    unit: str
    table: pd.DataFrame

    def refuse(self, bad: pd.Series, say: Callable[[pd.Series], str]) -> None:
        """Raise for the first row where `bad` holds, if there is one; `say` is told the row as it was written."""
        if not bad.any():
            return
        first, more = int(bad.to_numpy().argmax()), int(bad.sum()) - 1
        rest = f" ({more} more like it)" if more else ""
        number, row = self.table.index[first], self.table.iloc[first]
        raise PrefPaintError(f"{self.path}, {self.unit} {number}: {say(row)}{rest}")


def _read_csv(path: Path) -> _Rows:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            header = [name.strip() for name in next(reader, [])]
            numbers, rows = [], []
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise PrefPaintError(
                        f"{path}, line {reader.line_num}: has {len(row)} fields where the header has {len(header)}; "
                        "correct the line"
                    )
                numbers.append(reader.line_num)
                rows.append([field.strip() for field in row])
    except (UnicodeDecodeError, csv.Error) as error:
        raise PrefPaintError(
            f"{path}: is no CSV file ({error}); save the ratings as comma-separated UTF-8 text or as .parquet"
        ) from error
    if not header:
        raise PrefPaintError(f"{path}: is empty; it needs the columns {', '.join(RATING_COLUMNS)}")
    return _Rows(path, "line", pd.DataFrame(rows, columns=header, index=numbers, dtype="str"))


def _read_parquet(path: Path) -> _Rows:
    try:
        table = pd.read_parquet(path)
    except ValueError as error:
        raise PrefPaintError(f"{path}: is no parquet file ({error}); write it again") from error
    return _Rows(path, "row", table.set_axis(range(1, len(table) + 1)))


def _times(values: pd.Series) -> pd.Series:
    """UTC timestamps, NaT where there is none to be read."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        return pd.to_datetime(values.astype("str"), utc=True, format="ISO8601", errors="coerce").dt.as_unit("us")
    return pd.to_datetime(values, utc=True).dt.as_unit("us")


def _say_empty(name: str, row: pd.Series) -> str:
    return f"{name} is empty; fill it in"


def _say_rating(name: str, row: pd.Series) -> str:
    return f"{name} is {row[name] if str(row[name]) else 'empty'}; ratings are whole numbers from {LOWEST} to {HIGHEST}"


def read_ratings(path: Path, candidate_ids: Collection[str]) -> pd.DataFrame:
    """Read people's ratings from a CSV file (.parquet: parquet).

    Args:
        path: the file; columns besides `RATING_COLUMNS` are left out.
        candidate_ids: of all candidates there are.

    Returns:
        `RATING_COLUMNS` sorted by candidate and rater: str, str, three int64 in 0-7, timestamps in UTC (times
        without a zone are taken as UTC).

    Raises:
        PrefPaintError: the file is missing, empty or of another kind; a column is missing; a rating is no whole
            number in 0-7; a candidate is unknown; a rater rated a candidate twice; a time cannot be read.
    """
    if not path.is_file():
        raise PrefPaintError(f"preferences.ratings_file: {path} is not there; give the file of your ratings")
    rows = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    missing = [name for name in RATING_COLUMNS if name not in rows.table.columns]
    if missing:
        raise PrefPaintError(
            f"{path}: lacks the column {', '.join(missing)}; it needs {', '.join(RATING_COLUMNS)}, and has "
            f"{', '.join(map(str, rows.table.columns))}"
        )
    if rows.table.columns.duplicated().any():
        twice = rows.table.columns[rows.table.columns.duplicated()][0]
        raise PrefPaintError(f"{path}: has the column {twice} twice; remove one")
    if rows.table.empty:
        raise PrefPaintError(f"{path}: holds no rating, only a header; add rows")
    ratings = pd.DataFrame(index=rows.table.index)
    for name in ("candidate_id", "rater"):
        empty = rows.table[name].isna()
        ratings[name] = rows.table[name].astype("str").where(~empty, "")
        rows.refuse(ratings[name] == "", partial(_say_empty, name))
    unknown = ~ratings["candidate_id"].isin(set(candidate_ids))
    rows.refuse(unknown, lambda row: f"candidate {row['candidate_id']} is unknown; remove the row or correct the id")
    for name in CRITERIA:
        values = pd.to_numeric(rows.table[name], errors="coerce").astype("float64")
        rows.refuse(~(values.between(LOWEST, HIGHEST) & (values % 1 == 0)), partial(_say_rating, name))
        ratings[name] = values.astype("int64")
    ratings["rated_at"] = _times(rows.table["rated_at"])
    rows.refuse(
        ratings["rated_at"].isna(),
        lambda row: f"rated_at is {row['rated_at'] or 'empty'}; write times like 2026-01-31T14:05:00Z",
    )
    rows.refuse(
        ratings.duplicated(["candidate_id", "rater"]),
        lambda row: f"rater {row['rater']} has rated candidate {row['candidate_id']} before; keep one of the rows",
    )
    return ratings[list(RATING_COLUMNS)].sort_values(["candidate_id", "rater"], ignore_index=True)
