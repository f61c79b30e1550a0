"""Where people's ratings are kept: one SQL database, SQLite by default, PostgreSQL by its URL.

`answers`, `ratings` and `comparisons` only ever grow: a correction or a withdrawal is a new row, and what counts is
read off by `RatingStore.ratings`. `raters`, `sessions` and `pages` say who may rate and what was shown to whom.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from prefpaint.errors import PrefPaintError
from prefpaint.preferences import rating_tables
from prefpaint.preferences.names import spellings
from prefpaint.preferences.raters import enrol
from prefpaint.preferences.rating_tables import answers, comparisons, now, pages, raters, ratings
from prefpaint.preferences.rows import AHEAD
from prefpaint.preferences.schema import COMPARISON_COLUMNS, CRITERIA, RATING_COLUMNS

FILE = "ratings.sqlite"
# How long a writer waits for another before it gives up.
PATIENCE_S = 20
# Any number: the key under which PostgreSQL's writers take turns.
_TURN = 7_015_317
# So that rows of an import reach the server in few trips and never exceed what SQLite allows in one.
_CHUNK = 5_000

# Column of a candidate → column of the SHA-256 it was compared under; see `fitting`.
COMPARED = {"candidate_a": "sha256_a", "candidate_b": "sha256_b"}


def _utc(values: pd.Series) -> pd.Series:
    return pd.to_datetime(values, utc=True).dt.as_unit("us")


def _in_time(found: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of their times, those still to come first of all.

    Imports refuse such times. Earlier versions did not, and what they let in must not win for ever.

    Args:
        found: with rated_at, in its order.
    """
    ahead = _utc(found["rated_at"]) > pd.Timestamp(now() + AHEAD, tz="UTC")
    return found.iloc[np.argsort(~ahead, kind="stable")]


class RatingStore:
    """The ratings of people.

    Args:
        location: a folder, in which `ratings.sqlite` is made when something is first written; or the URL of a
            database as SQLAlchemy writes it, for example postgresql+psycopg://user:password@host/ratings.
    """

    def __init__(self, location: Path | str) -> None:
        self.location = location
        self.file = location / FILE if isinstance(location, Path) else None
        self._made = False
        # SQLite lets writers of one process find out by trying whose turn it is; a lock wakes the next one at once.
        self._turn = threading.Lock()

    @cached_property
    def engine(self) -> sa.Engine:
        """Connections to the database.

        Raises:
            PrefPaintError: the URL is wrong or its driver is not installed.
        """
        url = f"sqlite:///{self.file}" if self.file else str(self.location)
        try:
            engine = sa.create_engine(url, pool_size=16, max_overflow=32, pool_pre_ping=self.file is None)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
            raise PrefPaintError(
                f"rating store: its URL cannot be used ({error}); write it like "
                "postgresql+psycopg://user:password@host/database, and install the driver it names (for this one, "
                "`pip install 'prefpaint[postgres]'`)"
            ) from error
        if engine.dialect.name == "sqlite":
            sa.event.listen(engine, "connect", _prepare_sqlite)
            sa.event.listen(engine, "begin", _begin_sqlite)
        return engine

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A transaction that only looks.

        Raises:
            PrefPaintError: the database cannot be reached or does not hold this project's tables.
        """
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction that changes something; writers take turns, and it is on disk when the block has ended.

        Raises:
            PrefPaintError: as for `read`.
        """
        self.prepare()
        engine = self.engine.execution_options(writes=True)
        with self._translated(), self._turn, engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
            yield connection

    def prepare(self) -> None:
        """Create the tables if they do not exist yet.

        Raises:
            PrefPaintError: as for `read`.
        """
        if self._made:
            return
        if self.file:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._translated(), self.engine.execution_options(writes=True).begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_TURN)))
            rating_tables.create(connection)
        self._made = True

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            place = self.file or self.engine.url.render_as_string(hide_password=True)
            reason = " ".join(str(error.orig).split())
            raise StoreError(f"{place}: the rating store cannot be used ({reason})") from error
        except SQLAlchemyError as error:
            raise StoreError(f"the rating store cannot be used ({error})") from error

    def is_there(self) -> bool:
        """Whether anything was ever written to it."""
        if self.file:
            return self.file.exists()
        with self._translated(), self.engine.connect() as connection:
            return sa.inspect(connection).has_table(ratings.name)

    def has(self, column: "sa.Column[Any]") -> bool:
        """Whether it has one of ADDED; looking at a store of an earlier version does not change it.

        Raises:
            PrefPaintError: as for `read`.
        """
        with self.read() as connection:
            return rating_tables.has(connection, column)

    def close(self) -> None:
        """Close the database; SQLite then folds its log into the file."""
        self.engine.dispose()

    # ------------------------------------------------------------ what people said

    def rows(self, statement: sa.Select[Any]) -> pd.DataFrame:
        """A query's rows as a table with its columns."""
        with self.read() as connection:
            found = connection.execute(statement)
            return pd.DataFrame(found.fetchall(), columns=list(found.keys()))

    def ratings(self) -> pd.DataFrame:
        """What counts: of every rater and picture the last rating, less what was withdrawn.

        Calibration pages and second showings do not count. A regenerated candidate is another picture: its
        ratings come beside those of the old one, and `fitting` tells them apart.

        Returns:
            RATING_COLUMNS and sha256 (of the image that was rated), sorted by candidate, rater and sha256; rated_at in
            UTC.
        """
        columns = (ratings.c.candidate_id, raters.c.name.label("rater"), *(ratings.c[name] for name in CRITERIA))
        chosen = sa.select(*columns, ratings.c.rated_at, ratings.c.sha256).join_from(ratings, raters)
        # By the time of the rating: an old export that is imported again does not undo what was said since.
        found = self.rows(_that_count(chosen, ratings).order_by(ratings.c.rated_at, ratings.c.id))
        key = ["candidate_id", "rater", "sha256"]
        found = _in_time(found).drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)
        found = found.astype(
            {"candidate_id": "str", "rater": "str", "sha256": "str", **dict.fromkeys(CRITERIA, "int64")}
        )
        return found.assign(rated_at=_utc(found["rated_at"]))[[*RATING_COLUMNS, "sha256"]]

    def comparisons(self) -> pd.DataFrame:
        """Of every rater and pair of pictures the last comparison, less what was withdrawn; as for `ratings`.

        Returns:
            COMPARISON_COLUMNS, sha256_a, sha256_b, sorted by pair and rater; candidate_a < candidate_b.
        """
        columns = (comparisons.c[name] for name in ("candidate_a", "candidate_b", "preferred"))
        chosen: sa.Select[Any] = sa.select(
            *columns,
            raters.c.name.label("rater"),
            *(comparisons.c[name] for name in ("rated_at", "sha256_a", "sha256_b")),
        ).join_from(comparisons, raters)
        # A store of an earlier version holds only imported ones.
        chosen = _that_count(chosen, comparisons) if self.has(comparisons.c.answer_id) else chosen
        found = self.rows(chosen.order_by(comparisons.c.rated_at, comparisons.c.id))
        key = ["candidate_a", "candidate_b", "rater", "sha256_a", "sha256_b"]
        found = _in_time(found).drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)
        found = found.astype(dict.fromkeys([*key, "preferred"], "str"))
        return found.assign(rated_at=_utc(found["rated_at"]))[[*COMPARISON_COLUMNS, "sha256_a", "sha256_b"]]

    def add_ratings(self, table: pd.DataFrame) -> int:
        """Add imported ratings; one that the store has ever held is skipped, even if it was withdrawn since.

        Raters whose names are another spelling of one that is known are that one (`preferences.names.spellings`).

        Args:
            table: RATING_COLUMNS and sha256.

        Returns:
            How many rows were new.
        """
        return self._add(table, ratings)

    def add_comparisons(self, table: pd.DataFrame) -> int:
        """Add imported comparisons, likewise.

        Args:
            table: COMPARISON_COLUMNS, sha256_a, sha256_b; candidate_a < candidate_b.

        Returns:
            How many rows were new.
        """
        return self._add(table, comparisons)

    def _add(self, table: pd.DataFrame, to: sa.Table) -> int:
        if table.empty:
            return 0
        self.prepare()
        with self.read() as connection:
            known = connection.scalars(sa.select(raters.c.name).order_by(raters.c.id)).all()
        table = table.assign(rater=table["rater"].map(spellings(table["rater"].unique(), known)).astype("str"))
        names = [name for name in table.columns if name != "rater"]
        said = self.rows(sa.select(raters.c.name.label("rater"), *(to.c[name] for name in names)).join_from(to, raters))
        said = said.astype({name: table[name].dtype for name in table.columns if name != "rated_at"})
        said = said.assign(rated_at=_utc(said["rated_at"])).drop_duplicates()
        both = table.merge(said, how="left", indicator=True, on=list(table.columns))
        table = table[(both["_merge"] == "left_only").to_numpy()]
        with self.write() as connection:
            numbers = enrol(connection, sorted(table["rater"].unique()))
            rows = table.assign(
                rater_id=table["rater"].map(numbers), rated_at=table["rated_at"].dt.tz_localize(None).astype(object)
            ).drop(columns="rater")
            records: list[dict[str, Any]] = [
                {
                    name: value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
                    for name, value in row.items()
                }
                for row in rows.to_dict("records")
            ]
            for start in range(0, len(records), _CHUNK):
                connection.execute(sa.insert(to), records[start : start + _CHUNK])
        return len(table)


def _that_count(chosen: "sa.Select[Any]", said: sa.Table) -> "sa.Select[Any]":
    """Rows of ratings or comparisons that were imported, or are of the last answer of a page of work."""
    last = sa.select(sa.func.max(answers.c.id)).group_by(answers.c.page_id)
    answered = sa.and_(said.c.answer_id.in_(last), pages.c.kind == "work", pages.c.state == "rated")
    return (
        chosen.outerjoin(answers, answers.c.id == said.c.answer_id)
        .outerjoin(pages, pages.c.id == answers.c.page_id)
        .where(sa.or_(said.c.answer_id.is_(None), answered))
    )


class StoreError(PrefPaintError):
    """The database is busy, away or broken: nobody's input is wrong."""


def fitting(table: pd.DataFrame, checksums: Mapping[str, str], pairs: Mapping[str, str]) -> np.ndarray:
    """Whether each row is about images as they are now.

    Args:
        table: N rows.
        checksums: SHA-256 by candidate id.
        pairs: column of a candidate id → column of the SHA-256 it was rated under.

    Returns:
        (N,) bool.
    """
    fits = np.ones(len(table), bool)
    for candidate, checksum in pairs.items():
        fits &= (table[candidate].map(checksums) == table[checksum]).to_numpy(bool)
    return fits


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # Python's driver would start transactions by itself, and never as a writer.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={PATIENCE_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A reader that turns into a writer halfway could be refused; a writer from the start waits for its turn.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
