"""Rules about tables, kept as YAML in `conf/base/expectations` and checked by great_expectations.

A suite has four parts: a `name`, the `keys` that name an offending row, `derived` columns that are added only for the
check (rules that span rows, such as "three candidates per prompt", need one), and the `expectations` in
great_expectations' own words: `type`, `kwargs` and a `description`, which the error message repeats.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from pydantic import Field, ValidationError

from prefpaint.config import Config
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.masks.config import RATED_SPLITS

logger = logging.getLogger(__name__)

COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")
SHOWN_ROWS = 3


class Derived(Config):
    """A column computed from others: how many rows, or how many different values, a group has."""

    per: tuple[str, ...] = Field(min_length=1, description="Columns whose equal values make a group.")
    distinct: str | None = Field(None, description="Count this column's different values. Empty: rows.")


class Rule(Config):
    """One great_expectations expectation."""

    type: str = Field(description="Name of the expectation in great_expectations, in snake case.")
    kwargs: dict[str, Any] = Field({}, description="The expectation's own arguments.")
    description: str = Field(min_length=1, description="The rule in plain words, and what to do if it is broken.")

    def columns(self) -> Iterator[str]:
        """The columns it speaks of."""
        for name in COLUMN_ARGUMENTS:
            value = self.kwargs.get(name, [])
            yield from [value] if isinstance(value, str) else value


class Suite(Config):
    """The rules of one table."""

    name: str = Field(description="What messages call the table.")
    keys: tuple[str, ...] = Field(description="Columns that name a row in a message.")
    derived: dict[str, Derived] = Field({}, description="Added for the check, never saved.")
    expectations: tuple[Rule, ...] = Field(min_length=1, description="The rules; all are checked.")


@dataclass(frozen=True)
class Passed:
    """What was checked, and held: the summary for the metrics and the log."""

    suite: str
    rules: int
    rows: int

    def as_metrics(self) -> dict[str, int]:
        """Flat numbers."""
        return {"checked_rules": self.rules, "checked_rows": self.rows}


def read_suite(path: Path) -> Suite:
    """Read the rules of one table.

    Raises:
        PrefPaintError: the file is missing or is not a suite.
    """
    try:
        return Suite.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise PrefPaintError(f"{path}: the rules cannot be read ({error.strerror}); restore the file") from error
    except yaml.YAMLError as error:
        raise PrefPaintError(f"{path}: is not YAML ({' '.join(str(error).split())}); correct it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PrefPaintError(f"{path}: {where}: {first['msg']}; correct the rules") from error


def _derive(frame: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    # great_expectations looks rows up by their index, so it must not repeat.
    frame, added = frame.reset_index(drop=True), {}
    for name, derived in suite.derived.items():
        groups = frame.groupby(list(derived.per), dropna=False, sort=False)
        column = derived.distinct or derived.per[0]
        added[name] = groups[column].transform("nunique" if derived.distinct else "size")
    return frame.assign(**added)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back great_expectations' log: what matters of it is in the results."""
    log, nowhere = logging.getLogger("great_expectations"), logging.NullHandler()
    passed_on = log.propagate
    log.propagate = False
    log.addHandler(nowhere)
    try:
        yield
    finally:
        log.removeHandler(nowhere)
        log.propagate = passed_on


def _validate(frame: pd.DataFrame, suite: Suite) -> list[Mapping[str, Any]]:
    """great_expectations' results, in the order of the suite's rules."""
    # 3 seconds of import, needed only where something is saved.
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    rules = [
        {"type": rule.type, "kwargs": rule.kwargs, "meta": {"rule": number}}
        for number, rule in enumerate(suite.expectations)
    ]
    try:
        expectations = gx.ExpectationSuite(name=suite.name, expectations=rules)
    except ValueError as error:
        raise PrefPaintError(f"rules {suite.name}: {' '.join(str(error).split())}; correct the arguments") from error
    # great_expectations skips a type that it does not know, silently.
    known = {expectation.expectation_type for expectation in expectations.expectations}
    for rule in suite.expectations:
        if rule.type not in known:
            raise PrefPaintError(f"rules {suite.name}: great_expectations does not know {rule.type}; correct its name")
    batch = (
        context.data_sources.add_pandas("memory")
        .add_dataframe_asset(suite.name)
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": frame})
    )
    outcome = batch.validate(
        expectations,
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": list(suite.keys),
            "partial_unexpected_count": SHOWN_ROWS,
        },
    )
    results = [result.to_json_dict() for result in outcome.results]
    return sorted(results, key=lambda result: result["expectation_config"]["meta"]["rule"])


def _raised(result: Mapping[str, Any]) -> str | None:
    """The message of an exception inside an expectation, if there was one."""
    info = result["exception_info"]
    parts = [info] if "raised_exception" in info else list(info.values())
    return next((str(part["exception_message"]) for part in parts if part["raised_exception"]), None)


def _complaint(suite: Suite, rule: Rule, result: Mapping[str, Any]) -> str:
    outcome = result["result"]
    rows = []
    for row in outcome.get("partial_unexpected_index_list") or []:
        names = [*suite.keys, *sorted(set(row) - set(suite.keys))]
        rows.append(", ".join(f"{name}={row[name]}" for name in names))
    found = (
        f"{outcome['unexpected_count']} rows break {rule.type}, first {' | '.join(rows[:SHOWN_ROWS])}"
        if rows
        else f"{rule.type} found {outcome.get('observed_value', 'otherwise')}"
    )
    columns = ", ".join(rule.columns()) or "the table"
    return f"{suite.name}: {columns}: {rule.description} ({found})"


def check(frame: pd.DataFrame, suite: Suite) -> Passed:
    """Check a table against its rules.

    Raises:
        PrefPaintError: a rule is broken (the sentence names the column, the rule, the expectation and the first
            offending rows) or cannot be checked.
    """
    computed = set(suite.derived)
    needed = {*suite.keys, *(name for rule in suite.expectations for name in rule.columns())} - computed
    for derived in suite.derived.values():
        needed |= {*derived.per, *([derived.distinct] if derived.distinct else [])}
    missing = sorted(needed - set(frame.columns))
    if missing:
        raise PrefPaintError(f"{suite.name}: the column {', '.join(missing)} is missing; nothing was saved")
    with _quiet():
        results = _validate(_derive(frame, suite), suite)
    complaints = []
    for rule, result in zip(suite.expectations, results, strict=True):
        raised = _raised(result)
        if raised is not None:
            raise PrefPaintError(f"rules {suite.name}: {rule.type} cannot be checked ({raised}); correct the rule")
        if not result["success"]:
            complaints.append(_complaint(suite, rule, result))
    if complaints:
        others = len(complaints) - 1
        more = f"; {others} more {'rule is' if others == 1 else 'rules are'} broken" if others else ""
        raise PrefPaintError(f"{complaints[0]}{more}; nothing was saved")
    logger.info("%s: %d rules hold for %d rows", suite.name, len(suite.expectations), len(frame))
    return Passed(suite.name, len(suite.expectations), len(frame))


class ExpectationValidator:
    """Kedro's `validator:` of a catalog entry: a table that breaks its rules is not saved.

    Args:
        filepath: of the suite; the key's name makes Kedro take it from the project's root.
    """

    def __init__(self, filepath: str) -> None:
        self.suite = read_suite(Path(filepath))

    def validate(self, data: pd.DataFrame) -> pd.DataFrame:
        """Return the table unchanged.

        Raises:
            PrefPaintError: the table breaks a rule.
        """
        check(data, self.suite)
        return data


def _checksums(folder: ImageFolder, keys: pd.Series) -> pd.Series:
    """SHA-256 of each image's file, None where it is missing; a file is read once, however often it is named."""
    found = {key: folder.checksum(key) if key in folder else None for key in keys.dropna().unique()}
    return keys.map(found)


def link_tables(
    prompts: pd.DataFrame,
    candidates: pd.DataFrame,
    ratings: pd.DataFrame,
    prompt_images: ImageFolder,
    prompt_masks: ImageFolder,
    candidate_images: ImageFolder,
) -> pd.DataFrame:
    """One row for everything that ought to be a candidate with a prompt and files: what `preferences.yml` checks.

    Includes prompts without candidates (of the splits that are rated), candidates without a prompt and ratings
    without a candidate, so that a rule about empty cells finds them.

    Args:
        prompts: prompt_id, split, image_sha256, mask_sha256.
        candidates: candidate_id, prompt_id, sha256.
        ratings: candidate_id.
        prompt_images, prompt_masks, candidate_images: the files.

    Returns:
        candidate_id, prompt_id, split, sha256, image_sha256, mask_sha256, and the checksums of the files as they
        are: file_sha256, image_file_sha256, mask_file_sha256.
    """
    about_prompts = prompts[["prompt_id", "split", "image_sha256", "mask_sha256"]]
    expected = about_prompts["split"].isin(RATED_SPLITS) | about_prompts["prompt_id"].isin(candidates["prompt_id"])
    linked = candidates[["candidate_id", "prompt_id", "sha256"]].merge(
        about_prompts[expected], on="prompt_id", how="outer"
    )
    unknown = ~ratings["candidate_id"].isin(candidates["candidate_id"])
    strays = ratings.loc[unknown, ["candidate_id"]].drop_duplicates()
    linked = pd.concat([linked, strays], ignore_index=True)
    return linked.assign(
        file_sha256=_checksums(candidate_images, linked["candidate_id"]),
        image_file_sha256=_checksums(prompt_images, linked["prompt_id"]),
        mask_file_sha256=_checksums(prompt_masks, linked["prompt_id"]),
    )
