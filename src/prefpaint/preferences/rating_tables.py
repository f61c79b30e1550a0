"""The tables of the rating store, and how a store of an earlier version is brought up to date."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from prefpaint.preferences.schema import CRITERIA, HIGHEST, LOWEST, OUTCOMES

_tables = sa.MetaData()
# SQLite counts up only in columns of exactly this type.
_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _key() -> "sa.Column[int]":
    return sa.Column("id", _Id, primary_key=True, autoincrement=True)


def _rater() -> "sa.Column[int]":
    return sa.Column("rater_id", sa.ForeignKey("raters.id"), nullable=False, index=True)


raters = sa.Table(
    "raters",
    _tables,
    _key(),
    sa.Column("name", sa.String(64), nullable=False, unique=True),
    sa.Column("organiser", sa.Boolean, nullable=False),
    # SHA-256 of a random token of 256 bits: nothing to guess, so no slow hash is needed. Empty: no token was given out.
    sa.Column("token_hash", sa.String(64)),
    sa.Column("blocked", sa.Boolean, nullable=False),
    sa.Column("added_at", sa.DateTime, nullable=False),
)
sessions = sa.Table(
    "sessions",
    _tables,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    _rater(),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)
pages = sa.Table(
    "pages",
    _tables,
    _key(),
    _rater(),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("kind", sa.Enum("calibration", "work", "repeat", native_enum=False), nullable=False),
    sa.Column("prompt_id", sa.String(255), nullable=False),
    # Fingerprint of the pictures: the same prompt with other pictures is other work.
    sa.Column("content", sa.String(16), nullable=False),
    # What was asked, whatever the studio asks by now. Stores of earlier versions asked for scores alone.
    sa.Column(
        "question", sa.Enum("scores", "best", "pairs", native_enum=False), nullable=False, server_default="scores"
    ),
    # What is shown from left to right: ids, and the SHA-256 of each image's file.
    sa.Column("shown", sa.JSON, nullable=False),
    sa.Column("state", sa.Enum("open", "rated", "cannot judge", native_enum=False), nullable=False),
    sa.Column("opened_at", sa.DateTime, nullable=False),
    sa.UniqueConstraint("rater_id", "sequence"),
    sa.Index("pages_claims", "kind", "content"),
)
answers = sa.Table(
    "answers",
    _tables,
    _key(),
    sa.Column("page_id", sa.ForeignKey("pages.id"), nullable=False, index=True),
    # Chosen by the page in the browser, so that an answer sent twice is one answer.
    sa.Column("key", sa.String(64), nullable=False, unique=True),
    sa.Column("verdict", sa.Enum("rated", "cannot judge", "withdrawn", native_enum=False), nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("answered_at", sa.DateTime, nullable=False),
)
ratings = sa.Table(
    "ratings",
    _tables,
    _key(),
    _rater(),
    # Empty: imported.
    sa.Column("answer_id", sa.ForeignKey("answers.id"), index=True),
    sa.Column("candidate_id", sa.String(255), nullable=False, index=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    *(
        sa.Column(name, sa.SmallInteger, sa.CheckConstraint(f"{name} BETWEEN {LOWEST} AND {HIGHEST}"), nullable=False)
        for name in CRITERIA
    ),
    sa.Column("rated_at", sa.DateTime, nullable=False),
)
comparisons = sa.Table(
    "comparisons",
    _tables,
    _key(),
    _rater(),
    # Empty: imported.
    sa.Column("answer_id", sa.ForeignKey("answers.id"), index=True),
    sa.Column("candidate_a", sa.String(255), nullable=False),
    sa.Column("candidate_b", sa.String(255), nullable=False),
    sa.Column("sha256_a", sa.String(64), nullable=False),
    sa.Column("sha256_b", sa.String(64), nullable=False),
    sa.Column("preferred", sa.Enum(*OUTCOMES, native_enum=False), nullable=False),
    sa.Column("rated_at", sa.DateTime, nullable=False),
)


# Columns that a store of an earlier version lacks until something is written to it.
ADDED = (comparisons.c.answer_id, pages.c.question)


def now() -> datetime:
    """UTC without a zone, as all times in the store are."""
    return datetime.now(UTC).replace(tzinfo=None)


def create(connection: sa.Connection) -> None:
    """Create the tables and columns that do not exist yet."""
    _tables.create_all(connection)
    for column in ADDED:
        if has(connection, column):
            continue
        defined = str(sa.schema.CreateColumn(column).compile(dialect=connection.dialect))
        keys = (f" REFERENCES {key.column.table.name} ({key.column.name})" for key in column.foreign_keys)
        connection.execute(sa.DDL(f"ALTER TABLE {column.table.name} ADD COLUMN {defined}{''.join(keys)}"))
        for index in column.table.indexes:
            if column.name in index.columns:
                index.create(connection)


def has(connection: sa.Connection, column: "sa.Column[Any]") -> bool:
    """Whether the database has a column."""
    return column.name in {found["name"] for found in sa.inspect(connection).get_columns(column.table.name)}
