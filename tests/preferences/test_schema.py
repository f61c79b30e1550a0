"""Reading people's ratings, and one clear sentence for everything that can be wrong with them."""

import re
from pathlib import Path

import pandas as pd
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.schema import RATING_COLUMNS, WEIGHTS, read_ratings

HEADER = "candidate_id,rater,structure,texture,overall,rated_at"
KNOWN = ["train_00000_0", "train_00000_1"]
GOOD = ["train_00000_1,ann,5,4,6,2026-01-31T14:05:00Z", "train_00000_0,ann,0,7,3,2026-01-31T15:05:00+01:00"]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_weights_are_the_papers() -> None:
    assert WEIGHTS == (0.15, 0.15, 0.70)


def test_a_good_file(tmp_path: Path) -> None:
    ratings = read_ratings(write(tmp_path, HEADER + ",comment", GOOD[0] + ',"good, mostly"', "", GOOD[1] + ","), KNOWN)
    assert tuple(ratings.columns) == RATING_COLUMNS
    assert ratings["candidate_id"].tolist() == ["train_00000_0", "train_00000_1"]
    assert ratings[["structure", "texture", "overall"]].to_numpy().tolist() == [[0, 7, 3], [5, 4, 6]]
    assert ratings["structure"].dtype == "int64"
    assert ratings["rated_at"].tolist() == [pd.Timestamp("2026-01-31T14:05:00Z")] * 2


def test_parquet_reads_as_csv_does(tmp_path: Path) -> None:
    from_csv = read_ratings(write(tmp_path, HEADER, *GOOD), KNOWN)
    from_csv.to_parquet(tmp_path / "mine.parquet")
    pd.testing.assert_frame_equal(read_ratings(tmp_path / "mine.parquet", KNOWN), from_csv)


def test_a_spreadsheets_byte_order_mark_and_whole_floats_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\ntrain_00000_0, ann ,5.0,4,6,2026-01-31\r\n".encode())
    ratings = read_ratings(path, KNOWN)
    assert ratings.iloc[0].tolist() == ["train_00000_0", "ann", 5, 4, 6, pd.Timestamp("2026-01-31", tz="UTC")]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([HEADER, GOOD[0], "train_00000_0,ann,9,1,1,2026-01-31"], "line 3: structure is 9; ratings are whole numbers"),
        ([HEADER, "train_00000_0,ann,1,-1,1,2026-01-31"], "line 2: texture is -1; ratings"),
        ([HEADER, "train_00000_0,ann,1,1,4.5,2026-01-31"], "line 2: overall is 4.5; ratings"),
        ([HEADER, "train_00000_0,ann,good,1,1,2026-01-31"], "line 2: structure is good; ratings"),
        ([HEADER, "train_00000_0,ann,,1,1,2026-01-31"], "line 2: structure is empty; ratings"),
        ([HEADER, GOOD[0], "", "train_00009_0,ann,1,1,1,2026-01-31"], "line 4: candidate train_00009_0 is unknown"),
        ([HEADER, *GOOD, GOOD[0]], "line 4: rater ann has rated candidate train_00000_1 before"),
        ([HEADER, "train_00000_0,ann,1,1,1,yesterday"], "line 2: rated_at is yesterday; write times like"),
        ([HEADER, "train_00000_0,ann,1,1,1,"], "line 2: rated_at is empty"),
        ([HEADER, "train_00000_0,,1,1,1,2026-01-31"], "line 2: rater is empty"),
        ([HEADER, "train_00000_0,ann,1,1"], "line 2: has 4 fields where the header has 6"),
        ([HEADER, "x,a,1,1,1,2026-01-31", "y,a,1,1,1,2026-01-31"], r"candidate x is unknown.*\(1 more like it\)"),
        (["candidate_id,rater,structure,overall,rated_at", "a,b,1,1,2026"], "lacks the column texture; it needs"),
        ([HEADER + ",rater", GOOD[0] + ",ann"], "has the column rater twice"),
        ([HEADER], "holds no rating"),
        (["some words"], "lacks the column candidate_id"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, lines: list[str], message: str) -> None:
    path = write(tmp_path, *lines)
    with pytest.raises(PrefPaintError, match=message) as caught:
        read_ratings(path, KNOWN)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty; it needs the columns candidate_id, rater"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\xff", "is no CSV file"),
        ("text.parquet", b"candidate_id,rater", "is no parquet file"),
        ("empty.parquet", b"", "is no parquet file"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PrefPaintError, match=re.escape(str(path)) + ": " + message):
        read_ratings(path, KNOWN)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"preferences\.ratings_file: .*nowhere\.csv is not there"):
        read_ratings(tmp_path / "nowhere.csv", KNOWN)


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    read_ratings(write(tmp_path, HEADER, *GOOD), KNOWN).assign(overall=[3, 9]).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(PrefPaintError, match=r"mine\.parquet, row 2: overall is 9"):
        read_ratings(tmp_path / "mine.parquet", KNOWN)
