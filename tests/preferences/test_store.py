"""The rating store: append-only, corrections count, the same in SQLite and PostgreSQL."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from prefpaint.errors import PrefPaintError
from prefpaint.preferences import rating_tables as tables
from prefpaint.preferences.collecting import stored_preferences
from prefpaint.preferences.schema import COMPARISON_COLUMNS, RATING_COLUMNS
from prefpaint.preferences.store import FILE, RatingStore

AT = pd.Timestamp("2026-05-01T10:00:00Z")


def said(*rows: tuple[str, str, int]) -> pd.DataFrame:
    """Ratings of candidate, rater and one number for all criteria."""
    table = pd.DataFrame([(c, r, v, v, v, AT, f"sum of {c}") for c, r, v in rows], columns=[*RATING_COLUMNS, "sha256"])
    return table.astype({"rated_at": "datetime64[us, UTC]"})


def compared(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    columns = [*COMPARISON_COLUMNS, "sha256_a", "sha256_b"]
    table = pd.DataFrame([(a, b, p, r, AT, f"sum of {a}", f"sum of {b}") for a, b, p, r in rows], columns=columns)
    return table.astype({"rated_at": "datetime64[us, UTC]"})


def test_what_goes_in_comes_out(location: Path | str) -> None:
    store = RatingStore(location)
    assert not store.is_there()
    given = said(("a", "ann", 3), ("a", "bob", 0), ("b", "ann", 7))
    assert store.add_ratings(given) == 3 and store.is_there()
    pd.testing.assert_frame_equal(store.ratings(), given)
    assert store.comparisons().empty
    again = RatingStore(location)
    pd.testing.assert_frame_equal(again.ratings(), given)
    store.close()
    again.close()


def test_a_correction_is_a_new_row_and_the_old_one_stays(location: Path | str) -> None:
    store = RatingStore(location)
    store.add_ratings(said(("a", "ann", 3), ("b", "ann", 4)))
    assert store.add_ratings(said(("a", "ann", 5), ("b", "ann", 4))) == 1
    assert store.ratings()["overall"].tolist() == [5, 4]
    assert store.rows(sa.select(tables.ratings.c.overall).order_by(tables.ratings.c.id))["overall"].tolist() == [
        3,
        4,
        5,
    ]
    store.close()


def test_an_old_export_does_not_undo_what_was_said_since(location: Path | str) -> None:
    store = RatingStore(location)
    old = said(("a", "ann", 3))
    store.add_ratings(old)
    store.add_ratings(said(("a", "ann", 5)).assign(rated_at=(AT + pd.Timedelta("1h")).as_unit("us")))
    assert store.add_ratings(old) == 0 and store.ratings()["overall"].tolist() == [5]
    older = said(("a", "ann", 1)).assign(rated_at=(AT - pd.Timedelta("1h")).as_unit("us"))
    assert store.add_ratings(older) == 1 and store.ratings()["overall"].tolist() == [5]
    store.close()


def test_ratings_of_old_pictures_come_back_with_them(location: Path | str) -> None:
    store = RatingStore(location)
    store.add_ratings(said(("a", "ann", 3)))
    store.add_ratings(said(("a", "ann", 5)).assign(sha256="another picture"))
    for sha256, score in (("sum of a", 3), ("another picture", 5)):
        found = stored_preferences(store, pd.DataFrame({"candidate_id": ["a"], "sha256": [sha256]}))
        assert found is not None and found[0]["overall"].tolist() == [score]
    store.close()


def test_comparisons(location: Path | str) -> None:
    store = RatingStore(location)
    given = compared(("a", "b", "a", "ann"), ("a", "c", "tie", "bob"))
    assert store.add_comparisons(given) == 2 and store.add_comparisons(given) == 0
    assert store.add_comparisons(compared(("a", "b", "b", "ann"))) == 1
    assert store.comparisons()["preferred"].tolist() == ["b", "tie"]
    store.close()


@pytest.mark.parametrize("score", [-1, 8])
def test_the_database_itself_refuses_what_is_no_rating(location: Path | str, score: int) -> None:
    store = RatingStore(location)
    store.add_ratings(said(("a", "ann", 3)))
    with pytest.raises(PrefPaintError, match="rating store cannot be used"):
        store.add_ratings(said(("b", "bob", score)))
    # The whole call is undone, its rater too.
    assert len(store.ratings()) == 1
    assert store.rows(sa.select(tables.raters.c.name))["name"].tolist() == ["ann"]
    store.close()


def test_ratings_of_pictures_that_have_changed_are_left_out_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = RatingStore(tmp_path)
    store.add_ratings(said(("a", "ann", 3), ("b", "ann", 4), ("gone", "ann", 5)))
    store.add_comparisons(compared(("a", "b", "a", "ann")))
    candidates = pd.DataFrame({"candidate_id": ["a", "b"], "sha256": ["sum of a", "another sum"]})
    found = stored_preferences(store, candidates)
    assert found is not None
    ratings, comparisons = found
    assert ratings["candidate_id"].tolist() == ["a"] and list(ratings) == list(RATING_COLUMNS)
    assert comparisons.empty and list(comparisons) == list(COMPARISON_COLUMNS)
    assert "2 of 3 ratings are of pictures that no longer exist" in caplog.text and "(first b)" in caplog.text
    assert len(store.ratings()) == 3
    store.close()


def test_an_empty_store_is_no_store(tmp_path: Path) -> None:
    candidates = pd.DataFrame({"candidate_id": ["a"], "sha256": ["x"]})
    store = RatingStore(tmp_path)
    assert stored_preferences(store, candidates) is None
    assert not list(tmp_path.iterdir())
    with store.write():
        pass
    assert stored_preferences(store, candidates) is None
    store.close()


def test_reading_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    store.add_ratings(said(("a", "ann", 3)))
    store.close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert list(before) == [FILE]
    store = RatingStore(tmp_path)
    store.ratings()
    store.close()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_rating_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL: the log is synced at every commit
    store.close()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("what is this", "its URL cannot be used"),
        ("postgresql+nothing://host/db", "its URL cannot be used"),
        ("postgresql+psycopg://host:port/db", "its URL cannot be used"),
        (
            "postgresql+psycopg://user:secret@127.0.0.1:1/db",
            r"user:\*\*\*@127.0.0.1:1/db: the rating store cannot be used",
        ),
    ],
)
def test_a_store_that_cannot_be_reached(location: str, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message) as caught:
        RatingStore(location).is_there()
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"dear diary, " * 100)
    with pytest.raises(
        PrefPaintError, match=r"ratings\.sqlite: the rating store cannot be used \(file is not a database"
    ):
        RatingStore(tmp_path).ratings()


def test_many_ratings_at_once(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    count = 12_000
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"candidate_id": [f"c{i:06d}" for i in range(count)], "rater": "ann"})
    for name in ("structure", "texture", "overall"):
        table[name] = rng.integers(0, 8, count)
    table["rated_at"], table["sha256"] = AT.as_unit("us"), "x"
    assert store.add_ratings(table) == count
    pd.testing.assert_frame_equal(store.ratings(), table)
    store.close()
