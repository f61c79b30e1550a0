"""Rules about tables: each is broken once, and the sentence names what broke it."""

import logging
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog
from kedro.validation import DataValidationError

from prefpaint.commands.base import user_message
from prefpaint.datasets.expectations import ExpectationValidator, check, link_tables, read_suite
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image

RULES = Path(__file__).parents[2] / "conf" / "base" / "expectations"
SPLITS = ("train", "validation", "test", "seen")


def digest(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


def prompts() -> pd.DataFrame:
    ids = [f"{split}_0000{i}" for split in SPLITS for i in range(2)]
    return pd.DataFrame(
        {
            "prompt_id": ids,
            "source": "embedded",
            "photograph": "coffee",
            "split": [name.split("_")[0] for name in ids],
            "pattern": ["warp", "outpaint_strip"] * 4,
            "parameters": "{}",
            "left": 0,
            "top": 0,
            "right": 64,
            "bottom": 64,
            "hole_fraction": 0.5,
            "seed": range(8),
            "text_prompt": "",
            "image_sha256": [digest(i) for i in range(8)],
            "mask_sha256": [digest(100 + i) for i in range(8)],
        }
    )


def candidates() -> pd.DataFrame:
    rows = [(f"{p}_{i}", p, i) for p in prompts()["prompt_id"] if not p.startswith("seen") for i in range(3)]
    table = pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "index"])
    return table.assign(seed=range(len(table)), sha256=[digest(200 + i) for i in range(len(table))])


def ratings() -> pd.DataFrame:
    table = candidates()[["candidate_id"]].merge(pd.DataFrame({"rater": ["x", "y"]}), how="cross")
    return table.assign(structure=1, texture=2, overall=7, rated_at=pd.Timestamp("2026-01-31", tz="UTC"))


def scores() -> pd.DataFrame:
    table = candidates()[["candidate_id", "prompt_id"]].merge(prompts()[["prompt_id", "source", "pattern", "split"]])
    return table.assign(raters=2, raw=3.5, score=0.1)


TABLES = {"prompts": prompts, "candidates": candidates, "ratings": ratings, "scores": scores}


def changed(table: pd.DataFrame, row: int, column: str, value: Any) -> pd.DataFrame:
    table = table.copy()
    values = table[column].tolist()
    values[row] = value
    table[column] = values
    return table


@pytest.mark.parametrize("name", TABLES)
def test_good_tables_pass_unchanged(name: str) -> None:
    table = TABLES[name]()
    before = table.copy(deep=True)
    assert ExpectationValidator(str(RULES / f"{name}.yml")).validate(table) is table
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        (
            "ratings",
            changed(ratings(), 3, "structure", 9),
            "ratings: structure: ratings of structure lie within 0-7 (1 rows break expect_column_values_to_be_between, "
            "first candidate_id=train_00000_1, rater=y, structure=9); nothing was saved",
        ),
        (
            "ratings",
            pd.concat([ratings(), ratings().iloc[[4]]]),
            "ratings: candidate_id, rater: nobody rates a candidate twice (2 rows break "
            "expect_compound_columns_to_be_unique, first candidate_id=train_00000_2, rater=x | "
            "candidate_id=train_00000_2, rater=x); nothing was saved",
        ),
        ("ratings", changed(ratings(), 0, "overall", 4.5), "overall ratings are whole numbers"),
        ("ratings", changed(ratings(), 0, "rater", "  "), "every rating names its rater"),
        ("ratings", changed(ratings(), 0, "rated_at", pd.NaT), "every rating has a time"),
        ("ratings", ratings().drop(columns="texture"), "ratings: the column texture is missing; nothing was saved"),
        ("ratings", ratings().assign(mood="good"), "ratings have these columns and no others"),
        ("candidates", candidates().iloc[1:], "first candidate_id=train_00000_1, candidates_of_prompt=2"),
        ("candidates", changed(candidates(), 0, "index", 1), "no prompt has two candidates of one number"),
        ("candidates", changed(candidates(), 0, "sha256", "abc"), "checksums are 64 hexadecimal digits"),
        ("prompts", changed(prompts(), 2, "prompt_id", "train_00000"), "no prompt is in two splits"),
        ("prompts", changed(prompts(), 1, "prompt_id", "train_00000"), "no two prompts have the same id"),
        (
            "prompts",
            changed(changed(prompts(), 2, "image_sha256", digest(0)), 2, "mask_sha256", digest(100)),
            "no picture with the same hole is in two splits",
        ),
        ("prompts", changed(prompts(), 0, "split", "holdout"), "splits are train, validation, test, seen, unseen"),
        ("prompts", changed(prompts(), 0, "hole_fraction", 0.0), "every prompt has a hole"),
        ("prompts", changed(prompts(), 0, "right", 0), "crops have a width"),
        ("prompts", changed(prompts(), 0, "parameters", "{"), "the parameters of the mask are JSON"),
        ("scores", changed(scores(), 0, "raw", 7.2), "weighted ratings lie within 0-7"),
        ("scores", changed(scores(), 0, "score", np.nan), "every scored candidate has a normalised score"),
        ("scores", changed(scores(), 0, "score", np.inf), "within 100 standard deviations"),
        ("scores", changed(scores(), 0, "split", "seen"), "are not rated"),
        ("scores", changed(scores(), 0, "split", "test"), "no prompt is in two splits"),
    ],
)
def test_broken_tables_are_refused(name: str, broken: pd.DataFrame, message: str) -> None:
    with pytest.raises(PrefPaintError) as caught:
        check(broken, read_suite(RULES / f"{name}.yml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_further_broken_rules_are_counted() -> None:
    broken = changed(changed(ratings(), 0, "structure", 8), 0, "overall", -1)
    with pytest.raises(PrefPaintError, match=r"structure=8.*; 1 more rule is broken; nothing was saved"):
        check(broken, read_suite(RULES / "ratings.yml"))


def test_a_failing_suite_stops_the_save_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "ratings.parquet"
    catalog = DataCatalog.from_config(
        {
            "ratings": {
                "type": "prefpaint.datasets.TableDataset",
                "filepath": str(path),
                "validator": {
                    "class": "prefpaint.datasets.expectations.ExpectationValidator",
                    "on": ["save"],
                    "options": {"filepath": str(RULES / "ratings.yml")},
                },
            }
        }
    )
    catalog.save("ratings", ratings())
    before = path.read_bytes()
    with pytest.raises(DataValidationError) as caught:
        catalog.save("ratings", changed(ratings(), 0, "structure", 9))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ratings.parquet"]
    assert str(user_message(caught.value)).startswith("ratings: structure: ratings of structure lie within 0-7")


def folders(path: Path) -> tuple[ImageFolder, ImageFolder, ImageFolder, pd.DataFrame, pd.DataFrame]:
    """Files for all prompts and candidates, and the tables with their true checksums."""
    images, masks = ImageFolder(path / "images"), ImageFolder(path / "masks", masks=True)
    painted = ImageFolder(path / "painted")
    rng = np.random.default_rng(0)
    for folder, keys in ((images, prompts()["prompt_id"]), (painted, candidates()["candidate_id"])):
        for key in keys:
            write_image(folder.file(key), rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    for key in prompts()["prompt_id"]:
        write_image(masks.file(key), rng.integers(0, 2, (8, 8), dtype=np.uint8))
    about = prompts().assign(
        image_sha256=[images.checksum(key) for key in prompts()["prompt_id"]],
        mask_sha256=[masks.checksum(key) for key in prompts()["prompt_id"]],
    )
    made = candidates().assign(sha256=[painted.checksum(key) for key in candidates()["candidate_id"]])
    return images, masks, painted, about, made


def test_tables_and_files_that_belong_together_pass(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, masks, painted, about, made = folders(tmp_path)
    linked = link_tables(about, made, ratings(), images, masks, painted)
    assert len(linked) == 18
    suite = read_suite(RULES / "preferences.yml")
    with caplog.at_level(logging.INFO, "prefpaint"):
        passed = check(linked, suite)
    assert passed.as_metrics() == {"checked_rules": len(suite.expectations), "checked_rows": 18}
    assert caplog.messages == [f"preferences: {len(suite.expectations)} rules hold for 18 rows"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unknown rating", "only known candidates are rated (1 rows break expect_column_values_to_not_be_null, first "),
        ("unknown prompt", "candidates fill known prompts"),
        ("no candidates", "every prompt of train, validation and test has candidates"),
        ("two candidates", "every prompt has its three candidates"),
        ("held-out prompt", "prompts kept for evaluation (seen, unseen) get no candidates"),
        ("two splits", "no prompt is in two splits"),
        ("file gone", "every candidate's image exists with its recorded checksum"),
        ("file changed", "first candidate_id=train_00000_1, prompt_id=train_00000, file_sha256="),
        ("mask changed", "every prompt's mask exists with its recorded checksum"),
        ("image gone", "every prompt's image exists with its recorded checksum"),
    ],
)
def test_tables_and_files_that_do_not_belong_together(tmp_path: Path, fault: str, message: str) -> None:
    images, masks, painted, about, made = folders(tmp_path)
    given = ratings()
    if fault == "unknown rating":
        given = changed(given, 5, "candidate_id", "train_00009_0")
    elif fault == "unknown prompt":
        about = about.iloc[1:]
    elif fault == "no candidates":
        made = made.iloc[3:]
        given = given.iloc[6:]
    elif fault == "two candidates":
        made = made.iloc[1:]
        given = given.iloc[2:]
    elif fault == "held-out prompt":
        about = changed(about, 0, "split", "seen")
    elif fault == "two splits":
        about = pd.concat([about, about.iloc[[0]].assign(split="test")])
    elif fault == "file gone":
        painted.file("train_00000_1").unlink()
    elif fault == "file changed":
        write_image(painted.file("train_00000_1"), np.zeros((8, 8, 3), np.uint8))
    elif fault == "mask changed":
        write_image(masks.file("train_00000"), np.zeros((8, 8), np.uint8))
    elif fault == "image gone":
        images.file("test_00001").unlink()
    with pytest.raises(PrefPaintError) as caught:
        check(link_tables(about, made, given, images, masks, painted), read_suite(RULES / "preferences.yml"))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not YAML"),
        ("name: x\nkeys: []\nexpectations: []", "expectations: Tuple should have at least 1 item"),
        ("name: x\nkeyz: []", "keys: Field required"),
    ],
)
def test_rules_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(text)
    with pytest.raises(PrefPaintError, match=message):
        read_suite(path)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        # great_expectations only logs this one, and checks nothing.
        ({"type": "expect_column_values_to_be_betwixt", "kwargs": {"column": "raw"}}, "does not know expect_"),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"colum": "raw"}}, "correct the arguments"),
        (
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "candidate_id", "max_value": 1}},
            "expect_column_values_to_be_between cannot be checked",
        ),
    ],
)
def test_rules_that_cannot_be_checked_do_not_pass(tmp_path: Path, rule: dict[str, Any], message: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(str({"name": "x", "keys": ["candidate_id"], "expectations": [{**rule, "description": "some"}]}))
    with pytest.raises(PrefPaintError, match=message):
        check(scores(), read_suite(path))


def test_missing_rules_are_named(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"gone\.yml: the rules cannot be read"):
        read_suite(tmp_path / "gone.yml")


def test_importing_the_pipeline_imports_neither_great_expectations_nor_torch() -> None:
    code = (
        "import sys; from prefpaint.pipelines.preferences import create_pipeline; create_pipeline();"
        "sys.exit(any(name in sys.modules for name in ('great_expectations', 'torch', 'matplotlib', 'scipy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
