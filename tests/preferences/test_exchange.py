"""Files of other programs: good rows are taken, every other row is named with its reason."""

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.preferences.exchange import Imported, read_preferences, to_csv, write_table
from prefpaint.preferences.label_studio import label_studio_folder, label_studio_tasks
from prefpaint.preferences.schema import COMPARISON_COLUMNS, CRITERIA, RATING_COLUMNS, WEIGHTS

HEADER = "candidate_id,rater,structure,texture,overall,rated_at"
PAIRS = "candidate_a,candidate_b,preferred,rater,rated_at"
KNOWN = pd.DataFrame(
    [(f"train_{p:05d}_{i}", f"train_{p:05d}", f"sum {p} {i}") for p in range(2) for i in range(2)],
    columns=["candidate_id", "prompt_id", "sha256"],
)
GOOD = ["train_00000_1,ann,5,4,6,2026-01-31T14:05:00Z", "train_00000_0,ann,0,7,3,2026-01-31T15:05:00+01:00"]


def write(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def reasons(found: Imported) -> list[str]:
    return [f"{row.place}: {row.reason}" for row in found.rejected]


def test_weights_are_the_papers() -> None:
    assert WEIGHTS == (0.15, 0.15, 0.70)


def test_a_good_file(tmp_path: Path) -> None:
    lines = (HEADER + ",comment", GOOD[0] + ',"good, mostly"', "", GOOD[1] + ",")
    found = read_preferences(write(tmp_path, *lines), KNOWN)
    assert not found.rejected and found.comparisons.empty
    ratings = found.ratings
    assert list(ratings) == [*RATING_COLUMNS, "sha256"]
    assert ratings["candidate_id"].tolist() == ["train_00000_0", "train_00000_1"]
    assert ratings["sha256"].tolist() == ["sum 0 0", "sum 0 1"]
    assert ratings[[*CRITERIA]].to_numpy().tolist() == [[0, 7, 3], [5, 4, 6]]
    assert ratings["structure"].dtype == "int64"
    assert ratings["rated_at"].tolist() == [pd.Timestamp("2026-01-31T14:05:00Z")] * 2


def test_what_is_exported_is_what_is_imported(tmp_path: Path) -> None:
    from_csv = read_preferences(write(tmp_path, HEADER, *GOOD), KNOWN).ratings
    for name in ("again.csv", "again.parquet"):
        write_table(from_csv.drop(columns="sha256"), tmp_path / name)
        pd.testing.assert_frame_equal(read_preferences(tmp_path / name, KNOWN).ratings, from_csv)
    assert to_csv(from_csv).splitlines()[1].startswith("train_00000_0,ann,0,7,3,2026-01-31T14:05:00.000000Z")
    with pytest.raises(PrefPaintError, match=r"end the name in \.csv or \.parquet"):
        write_table(from_csv, tmp_path / "again.xlsx")


def test_a_spreadsheets_byte_order_mark_and_whole_floats_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\r\ntrain_00000_0, ann ,5.0,4,6,2026-01-31\r\n".encode())
    ratings = read_preferences(path, KNOWN).ratings
    assert ratings.iloc[0].tolist()[:6] == ["train_00000_0", "ann", 5, 4, 6, pd.Timestamp("2026-01-31", tz="UTC")]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["train_00000_0,ann,9,1,1,2026-01-31"], "line 3: structure is 9; ratings are whole numbers"),
        (["train_00000_0,ann,1,-1,1,2026-01-31"], "line 3: texture is -1; ratings"),
        (["train_00000_0,ann,1,1,4.5,2026-01-31"], "line 3: overall is 4.5; ratings"),
        (["train_00000_0,ann,good,1,1,2026-01-31"], "line 3: structure is good; ratings"),
        (["train_00000_0,ann,,1,1,2026-01-31"], "line 3: structure is empty; ratings"),
        (["", "train_00009_0,ann,1,1,1,2026-01-31"], "line 4: candidate train_00009_0 is unknown"),
        ([GOOD[0]], "line 3: rater ann has already rated candidate train_00000_1"),
        (["train_00000_0,ann,1,1,1,yesterday"], "line 3: rated_at is yesterday; write times like"),
        (["train_00000_0,ann,1,1,1,"], "line 3: rated_at is empty"),
        (["train_00000_0,,1,1,1,2026-01-31"], "line 3: rater is empty"),
        (["train_00000_0," + "a" * 65 + ",1,1,1,2026-01-31"], "line 3: rater 'aaa"),
        (["train_00000_0,a\x07b,1,1,1,2026-01-31"], "line 3: rater 'a\\x07b' is not a valid name"),
        (["train_00000_0,ann,1,1"], "line 3: has 4 fields where the header has 6"),
    ],
)
def test_bad_rows_are_named_and_the_rest_is_taken(tmp_path: Path, lines: list[str], expected: str) -> None:
    found = read_preferences(write(tmp_path, HEADER, GOOD[0], *lines, "train_00001_0,bob,1,2,3,2026-02-01"), KNOWN)
    assert len(found.rejected) == 1 and reasons(found)[0].startswith(expected), reasons(found)
    assert found.ratings["candidate_id"].tolist() == ["train_00000_1", "train_00001_0"]


def test_a_rating_of_another_picture_is_none_of_this_one(tmp_path: Path) -> None:
    lines = (HEADER + ",sha256", GOOD[0] + ",sum 0 1", GOOD[1] + ",another sum")
    found = read_preferences(write(tmp_path, *lines), KNOWN)
    assert found.ratings["candidate_id"].tolist() == ["train_00000_1"]
    assert reasons(found)[0].startswith("line 3: candidate train_00000_0 has since been regenerated")


def test_an_open_quotation_mark_is_named_where_it_stands(tmp_path: Path) -> None:
    lines = (HEADER, GOOD[0], 'train_00000_0,"ann,5,4,6,2026-01-31', "train_00001_0,bob,1,2,3,2026-02-01")
    found = read_preferences(write(tmp_path, *lines), KNOWN)
    assert reasons(found)[0].startswith("line 3: a quotation mark is not closed and takes in all up to line")
    assert len(found.ratings) == 1


def test_missing_numbers_of_a_nullable_column(tmp_path: Path) -> None:
    ratings = read_preferences(write(tmp_path, HEADER, *GOOD), KNOWN).ratings.convert_dtypes()
    ratings.loc[0, "overall"] = pd.NA
    ratings.to_parquet(tmp_path / "mine.parquet")
    assert reasons(read_preferences(tmp_path / "mine.parquet", KNOWN))[0].startswith("row 1: overall is empty")


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    ratings = read_preferences(write(tmp_path, HEADER, *GOOD), KNOWN).ratings
    ratings.to_parquet(tmp_path / "mine.parquet")
    whole = (tmp_path / "mine.parquet").read_bytes()
    (tmp_path / "mine.parquet").write_bytes(whole[:4] + bytes(200) + whole[204:])
    with pytest.raises(PrefPaintError, match=r"mine\.parquet: is not a Parquet file"):
        read_preferences(tmp_path / "mine.parquet", KNOWN)


def test_rejected_rows_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = ("x,a,1,1,1,2026-01-31", GOOD[0], "train_00000_0,ann,9,1,1,2026-01-31", "y,a,1,1,1,2026-01-31")
    found = read_preferences(write(tmp_path, HEADER, *lines), KNOWN)
    assert [row.place for row in found.rejected] == ["line 2", "line 4", "line 5"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["candidate_id,rater,structure,overall,rated_at", "a,b,1,1,2026"], "lacks the column texture; it needs"),
        ([HEADER + ",rater", GOOD[0] + ",ann"], "has the column rater twice"),
        ([HEADER], "holds no rating"),
        (["some words"], "lacks the column candidate_id"),
        (["candidate_a,candidate_b,rater,rated_at"], "lacks the column preferred; it needs candidate_a"),
    ],
)
def test_files_that_cannot_be_rows(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(PrefPaintError, match=message) as caught:
        read_preferences(write(tmp_path, *lines), KNOWN)
    assert str(caught.value).startswith(str(tmp_path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "is empty; it needs the columns candidate_id, rater"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n\x00\xff", "is not a CSV file"),
        ("text.parquet", b"candidate_id,rater", "is not a Parquet file"),
        ("empty.parquet", b"", "is not a Parquet file"),
        ("text.json", b"dear diary", "is not JSON"),
        ("deep.json", b"[" * 100_000, "is not JSON"),
        ("object.json", b"{}", "holds no list of tasks"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(PrefPaintError, match=re.escape(str(path)) + ": " + message):
        read_preferences(path, KNOWN)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"nowhere\.csv was not found"):
        read_preferences(tmp_path / "nowhere.csv", KNOWN)


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    ratings = read_preferences(write(tmp_path, HEADER, *GOOD), KNOWN).ratings
    ratings.assign(overall=[3, 9]).to_parquet(tmp_path / "mine.parquet")
    assert reasons(read_preferences(tmp_path / "mine.parquet", KNOWN))[0].startswith("row 2: overall is 9")


def test_comparisons_are_turned_so_that_a_comes_first(tmp_path: Path) -> None:
    lines = (
        "train_00000_1,train_00000_0,a,ann,2026-01-31",
        "train_00000_0,train_00000_1,tie,bob,2026-01-31",
        "train_00000_0,train_00001_0,a,bob,2026-01-31",
        "train_00000_0,train_00000_0,a,bob,2026-01-31",
        "train_00000_0,train_00000_1,better,cyd,2026-01-31",
        "train_00000_0,train_00000_1,b,ann,2026-01-31",
    )
    found = read_preferences(write(tmp_path, PAIRS, *lines), KNOWN)
    assert list(found.comparisons) == [*COMPARISON_COLUMNS, "sha256_a", "sha256_b"] and found.ratings.empty
    rows = found.comparisons[["candidate_a", "candidate_b", "preferred", "rater", "sha256_a"]].to_numpy().tolist()
    assert rows == [
        ["train_00000_0", "train_00000_1", "b", "ann", "sum 0 0"],
        ["train_00000_0", "train_00000_1", "tie", "bob", "sum 0 0"],
    ]
    assert reasons(found) == [
        "line 4: train_00000_0 and train_00001_0 are of different prompts; compare within a prompt",
        "line 5: candidate train_00000_0 is compared with itself; remove the row",
        "line 6: preferred is better; write a, b or tie",
        "line 7: rater ann has compared train_00000_0 and train_00000_1 before; keep one",
    ]


# ---------------------------------------------------------------- Label Studio


def answered(data: dict[str, Any], scores: dict[str, dict[str, Any]], **annotation: Any) -> dict[str, Any]:
    """A task as Label Studio's JSON export gives it, answered with `Choices`."""
    result = [
        {
            "from_name": f"{criterion}_{shown[-1]}",
            "to_name": shown,
            "type": "choices",
            "value": {"choices": [str(score)]},
        }
        for shown, given in scores.items()
        for criterion, score in given.items()
    ]
    made = {"result": result, "completed_by": 7, "updated_at": "2026-05-01T10:00:00.123Z", "was_cancelled": False}
    return {"id": 1, "data": data, "annotations": [{**made, **annotation}]}


FULL = dict(zip(CRITERIA, (3, 4, 5), strict=True))


def test_tasks_go_out_and_come_back(tmp_path: Path) -> None:
    tasks = label_studio_tasks(KNOWN, "http://images/")
    assert tasks[0]["data"]["incomplete"] == "http://images/train_00000.png"
    assert tasks[0]["data"]["candidate_2"] == "http://images/train_00000_1.png"
    export = [
        answered(tasks[0]["data"], {"candidate_1": FULL, "candidate_2": dict.fromkeys(CRITERIA, 0)}),
        answered(tasks[1]["data"], {"candidate_1": FULL}, completed_by={"id": 3, "email": "bob@example.org"}),
    ]
    (tmp_path / "export.json").write_text(json.dumps(export))
    found = read_preferences(tmp_path / "export.json", KNOWN)
    assert not found.rejected
    rows = found.ratings[["candidate_id", "rater", *CRITERIA]].to_numpy().tolist()
    assert rows == [
        ["train_00000_0", "label-studio-7", 3, 4, 5],
        ["train_00000_1", "label-studio-7", 0, 0, 0],
        ["train_00001_0", "bob@example.org", 3, 4, 5],
    ]
    assert found.ratings["rated_at"].iloc[0] == pd.Timestamp("2026-05-01T10:00:00.123Z")


def test_the_labelling_configuration_names_what_the_tasks_and_the_import_name(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    label_studio_folder(tmp_path / "out", KNOWN, lambda name: picture, "/data/")
    view = ElementTree.parse(tmp_path / "out/labelling.xml").getroot()
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    used = {value[1:] for element in view.iter() if (value := element.get("value", "")).startswith("$")}
    assert used <= set(tasks[0]["data"])
    choices = {element.get("name"): element for element in view.iter("Choices")}
    assert set(choices) == {f"{criterion}_{number}" for criterion in CRITERIA for number in (1, 2)}
    assert choices["overall_2"].get("toName") == "candidate_2"
    assert [choice.get("value") for choice in choices["overall_1"]] == list("01234567")
    files = {path.name for path in (tmp_path / "out/images").iterdir()}
    named = {data[key].removeprefix("/data/") for task in tasks for data in [task["data"]] for key in used - {"scale"}}
    assert files == named
    with pytest.raises(PrefPaintError, match="already exists; name a new folder"):
        label_studio_folder(tmp_path / "out", KNOWN, lambda name: picture, "/data/")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda task: task.pop("data"), "task 1: has no data"),
        (lambda task: task.pop("annotations"), "task 1: has no list of annotations"),
        (lambda task: task["annotations"][0].update(was_cancelled=True), "task 1, annotation 1: was skipped"),
        (lambda task: task["annotations"][0].update(result=None), "task 1, annotation 1: has no result"),
        (lambda task: task["annotations"][0].update(result=[]), "task 1, annotation 1: rates nothing"),
        (lambda task: task["annotations"][0]["result"].pop(), "task 1, annotation 1: overall is empty"),
        (lambda task: task["data"].update(candidate_1_id="other"), "task 1, annotation 1: candidate other is unknown"),
        (
            lambda task: task["annotations"][0]["result"][2]["value"].update(choices=[10**400]),
            "task 1, annotation 1: overall is 1000",
        ),
        (lambda task: task["annotations"][0].update(updated_at=None), "task 1, annotation 1: rated_at is empty"),
        (lambda task: task["annotations"][0].update(completed_by=None), "task 1, annotation 1: rater is empty"),
    ],
)
def test_bad_annotations_are_named(tmp_path: Path, change: Any, expected: str) -> None:
    data = label_studio_tasks(KNOWN, "")[0]["data"]
    bad, good = answered(dict(data), {"candidate_1": FULL}), answered(dict(data), {"candidate_2": FULL})
    change(bad)
    (tmp_path / "export.json").write_text(json.dumps([bad, good]))
    found = read_preferences(tmp_path / "export.json", KNOWN)
    assert len(found.rejected) == 1 and reasons(found)[0].startswith(expected), reasons(found)
    assert found.ratings["candidate_id"].tolist() == ["train_00000_1"]


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
shapes = st.fixed_dictionaries(
    {
        "data": st.dictionaries(st.sampled_from(["prompt_id", "candidate_1_id", "candidate_1"]), anything) | anything,
        "annotations": st.lists(
            st.fixed_dictionaries(
                {
                    "result": st.lists(
                        st.fixed_dictionaries(
                            {
                                "from_name": st.sampled_from(["overall_1", "texture_1"]) | anything,
                                "to_name": st.just("candidate_1") | anything,
                                "value": st.fixed_dictionaries({"choices": st.lists(anything, max_size=2)}) | anything,
                            }
                        ),
                        max_size=3,
                    )
                    | anything,
                    "completed_by": anything,
                    "updated_at": anything,
                }
            ),
            max_size=2,
        ),
    }
)


@given(st.lists(shapes | anything, max_size=3))
def test_no_json_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, tasks: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(tasks))
    try:
        found = read_preferences(path, KNOWN)
    except PrefPaintError as error:
        assert "\n" not in str(error)
    else:
        assert found.ratings[[*CRITERIA]].isin(range(8)).all(axis=None)
