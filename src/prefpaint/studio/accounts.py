"""Raters and their tokens."""

import hashlib
import secrets

import sqlalchemy as sa

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.names import NAME_RULE, composed, is_name
from prefpaint.preferences.raters import find_rater
from prefpaint.preferences.rating_tables import now, raters, sessions
from prefpaint.preferences.store import RatingStore


def add_rater(store: RatingStore, name: str, organiser: bool = False) -> str:
    """Make a rater, or give one, however the name is spelled, a new token; earlier tokens and sessions end.

    Args:
        store: of ratings.
        name: see `NAME_RULE`.
        organiser: lets them see everybody's progress and export; an organiser stays one.

    Returns:
        The token. Only its hash is kept, so it cannot be shown again.

    Raises:
        PrefPaintError: the name cannot be used.
    """
    if not is_name(name):
        raise PrefPaintError(f"rater {name!r}: is not a valid name; {NAME_RULE}")
    token = secrets.token_urlsafe(32)
    with store.write() as connection:
        row = find_rater(connection, name)
        rights = organiser or (row is not None and row.organiser)
        values = {"organiser": rights, "blocked": False, "token_hash": hashed(token)}
        if row is None:
            connection.execute(sa.insert(raters).values(name=composed(name), added_at=now(), **values))
        else:
            connection.execute(sa.update(raters).where(raters.c.id == row.id).values(values))
            connection.execute(sa.delete(sessions).where(sessions.c.rater_id == row.id))
    return token


def block_rater(store: RatingStore, name: str) -> None:
    """Block a rater at once; their ratings stay.

    Raises:
        PrefPaintError: the rater is unknown.
    """
    with store.write() as connection:
        row = find_rater(connection, name)
        if row is None:
            raise PrefPaintError(f"rater {name!r}: is unknown; `kedro raters list` shows all raters")
        connection.execute(sa.update(raters).where(raters.c.id == row.id).values(blocked=True))
        connection.execute(sa.delete(sessions).where(sessions.c.rater_id == row.id))


def has_token_holders(store: RatingStore) -> bool:
    """Whether anybody could sign in where tokens are required."""
    if not store.is_there():
        return False
    statement = (
        sa.select(sa.func.count()).select_from(raters).where(raters.c.token_hash.is_not(None), ~raters.c.blocked)
    )
    with store.read() as connection:
        return bool(connection.execute(statement).scalar())


def hashed(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
