"""Rows of people's files: what a cell means, and why a row cannot be used."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.errors import printable
from prefpaint.preferences.schema import HIGHEST, LOWEST

# ISO 8601 from the day on, in ASCII: a year alone is a number, and other orders of day and month are guesses.
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}[0-9:.]*( ?([Zz]|[+-][0-9:]{2,6}))?)?", re.ASCII)
NUMBER = re.compile(r"([+-]?[0-9]{1,6})([.,]0*)?", re.ASCII)
# Of the web, of which raters work, nobody has rated before; and clocks and zones are at most this far off.
EARLIEST = pd.Timestamp("2000-01-01", tz="UTC")
AHEAD = timedelta(days=1)
# Characters of a cell that a message shows.
SHOWN = 80


@dataclass(frozen=True)
class Rejected:
    """A row that was not accepted.

    Attributes:
        place: where it is, counted as the user's program counts: "line 7", "row 7", "task 3, annotation 12".
        reason: what is wrong and what to do, made `printable`.
    """

    place: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", printable(self.reason))


@dataclass
class Rows:
    """A user's rows as they were written; each is accepted, or rejected for the first thing that is wrong with it.

    Attributes:
        path: of the file.
        table: the rows that nothing was wrong with so far.
        places: of all rows, by the index of `table`.
        rejected: the others.
        notes: what the user should know about how the file was read.
    """

    path: Path
    table: pd.DataFrame
    places: pd.Series
    rejected: list[Rejected] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def reject(self, bad: "pd.Series | np.ndarray", say: Callable[[pd.Series], str]) -> None:
        """Reject the rows where `bad` holds; `say` gets each row as it was written."""
        wrong = np.asarray(bad, dtype=bool)
        for index in self.table.index[wrong]:
            self.rejected.append(Rejected(str(self.places[index]), say(self.table.loc[index])))
        self.table = self.table[~wrong]

    def texts(self, name: str) -> None:
        """Make a column of names text, as it is written in the file but for spaces around it."""
        self.reject(self.table[name].map(is_empty), lambda row: f"{name} is empty; fill it in")
        read = self.table[name].map(as_text)
        self.reject(read.isna(), lambda row: f"{name} is {shown(row[name])}; write text")
        self.table = self.table.assign(**{name: read[self.table.index]})

    def numbers(self, name: str) -> None:
        """Make a column of ratings whole numbers."""
        read = self.table[name].map(as_rating)
        self.reject(read.isna(), partial(_say_rating, name))
        self.table = self.table.assign(**{name: read[self.table.index].astype("int64")})

    def times(self, name: str) -> None:
        """Make a column of times UTC; the future, which would win for ever, and what is long ago are mistakes."""
        read = as_times(self.table[name])
        self.reject(read.isna(), lambda row: f"{name} is {shown(row[name])}; write times like 2026-01-31T14:05:00Z")
        read = read[self.table.index]
        latest = pd.Timestamp(datetime.now(UTC) + AHEAD)
        self.reject(
            (read < EARLIEST) | (read > latest),
            lambda row: f"{name} is {shown(row[name])}, which is {_wrong_time(read[row.name])}; correct the time",
        )
        self.table = self.table.assign(**{name: read[self.table.index]})


def is_empty(value: Any) -> bool:
    """Whether a cell says nothing."""
    if isinstance(value, str):
        return not value.strip()
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def as_text(value: Any) -> str | None:
    """A cell as text: text, or a whole number that a spreadsheet made of a name. None for anything else.

    What cannot be written down, a lone surrogate of JSON, is no text.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return None
        return value.strip()
    whole = _whole(value)
    return None if whole is None else str(whole)


def as_rating(value: Any) -> int | None:
    """A rating, or None for what is none: a truth value, digits of other scripts, 4.5, 8.

    A decimal point or comma may be followed by zeros.
    """
    if isinstance(value, str):
        match = NUMBER.fullmatch(value.strip())
        number = int(match[1]) if match else None
    else:
        number = _whole(value)
    return number if number is not None and LOWEST <= number <= HIGHEST else None


def _whole(value: Any) -> int | None:
    """A whole number of any numeric type; truth values are none."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real | Decimal) and float(value).is_integer():
        return int(float(value))
    return None


def as_times(values: pd.Series) -> pd.Series:
    """UTC timestamps, NaT where it cannot be read. Times without a zone are taken as UTC."""
    if not pd.api.types.is_datetime64_any_dtype(values):
        texts = values.map(_time_text).astype(object)
        values = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    return pd.to_datetime(values, utc=True).dt.as_unit("us")


def _time_text(value: Any) -> str | None:
    # A day of a spreadsheet or of Parquet; pandas' missing time is a datetime, too.
    text = value.isoformat() if isinstance(value, date) and not is_empty(value) else value
    return text if isinstance(text, str) and TIME.fullmatch(text := text.strip()) else None


def _wrong_time(time: pd.Timestamp) -> str:
    return "before there were raters" if time < EARLIEST else "still to come"


def shown(value: Any) -> str:
    """A cell as it was written; a long one is cut."""
    return "empty" if is_empty(value) else str(value)[:SHOWN]


def _say_rating(name: str, row: pd.Series) -> str:
    return f"{name} is {shown(row[name])}; ratings are whole numbers from {LOWEST} to {HIGHEST}"
