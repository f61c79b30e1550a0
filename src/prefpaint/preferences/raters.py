"""Raters in the store: found by name, or added."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from prefpaint.preferences.names import spellings
from prefpaint.preferences.rating_tables import now, raters

# Names that are looked up in one query; databases have a limit.
_CHUNK = 5_000


def find_rater(connection: sa.Connection, name: str) -> "sa.Row[Any] | None":
    """The rater of a name, however it is spelled (`preferences.names.spellings`); None where there is none."""
    rows = {row.name: row for row in connection.execute(sa.select(raters).order_by(raters.c.id))}
    return rows.get(spellings([name], rows)[name])


def enrol(connection: sa.Connection, names: Sequence[str]) -> Mapping[str, int]:
    """Ids of raters by name; an unknown name becomes a rater without a token."""
    found: dict[str, int] = {}
    for start in range(0, len(names), _CHUNK):
        part = names[start : start + _CHUNK]
        statement = sa.select(raters.c.name, raters.c.id).where(raters.c.name.in_(part))
        found |= {row.name: row.id for row in connection.execute(statement)}
    for name in names:
        if name not in found:
            fresh = {"name": name, "organiser": False, "blocked": False, "added_at": now()}
            found[name] = int(connection.execute(sa.insert(raters).values(fresh)).inserted_primary_key[0])  # type: ignore[index]
    return found
