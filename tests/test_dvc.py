"""dvc.yaml says what the pipelines, the catalog and the imports say, and dvc.lock is true."""

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.pipeline import Pipeline

from prefpaint.pipeline_registry import register_pipelines
from tests.conftest import REPOSITORY

STAGES: dict[str, Any] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
CATALOG: dict[str, Any] = yaml.safe_load((REPOSITORY / "conf/base/catalog.yml").read_text())
PIPELINES = register_pipelines()
# Every pipeline is a stage but their sum, comparisons, and the rehearsal, which are called by name.
NOT_STAGES = {"__default__", "seeds", "ablate_reward", "ablate_order", "ablate_align", "overoptimise", "rehearse"}
# What these hold decides how a run looks and fails, not what comes out.
PLUMBING = {
    "cli.py",
    "distributed.py",
    "errors.py",
    "hooks.py",
    "pretrained.py",
    "progress.py",
    "settings.py",
    "files.py",
}
PACKAGE = REPOSITORY / "src/prefpaint"


def entries(listed: list[Any]) -> dict[str, dict[str, Any]]:
    """DVC's lists hold paths, or a path with options."""
    return {key: value for item in listed for key, value in ([(item, {})] if isinstance(item, str) else item.items())}


def outputs(stage: str) -> dict[str, dict[str, Any]]:
    return {
        path: {**options, "kind": kind}
        for kind in ("outs", "metrics", "plots")
        for path, options in entries(STAGES[stage].get(kind, [])).items()
    }


def saved(pipeline: Pipeline) -> list[str]:
    """Outputs that outlive the run."""
    return [name for name in pipeline.all_outputs() if "filepath" in CATALOG.get(name, {})]


def is_workspace(name: str) -> bool:
    return str(CATALOG[name]["type"]).endswith("WorkspaceDataset")


def test_one_stage_per_pipeline() -> None:
    assert set(STAGES) == set(PIPELINES) - NOT_STAGES
    assert all(STAGES[stage]["cmd"] == f"kedro run --pipeline={stage}" for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_outputs(stage: str) -> None:
    found = outputs(stage)
    assert set(found) == {CATALOG[name]["filepath"] for name in saved(PIPELINES[stage])}
    for name in saved(PIPELINES[stage]):
        options, kind = found[CATALOG[name]["filepath"]], str(CATALOG[name]["type"]).rsplit(".", 1)[1]
        assert (options["kind"] == "metrics") == name.endswith("_metrics"), name
        assert (options["kind"] == "plots") == (kind == "FigureDataset"), name
        # A resumable folder must survive the start of its stage; git keeps metrics, the base checkpoint and the judge.
        assert options.get("persist", False) == (kind == "ImageFolderDataset"), name
        assert (options.get("cache") is False) == (name.endswith("_metrics") or name in ("base_model", "judge")), name


@pytest.mark.parametrize("stage", STAGES)
def test_data_dependencies(stage: str) -> None:
    free = [name for name in PIPELINES[stage].inputs() if not name.startswith("params:") and not is_workspace(name)]
    rules = [
        CATALOG[name]["validator"]["options"]["filepath"]
        for name in saved(PIPELINES[stage])
        if "validator" in CATALOG[name]
    ]
    listed = {path for path in STAGES[stage]["deps"] if not path.startswith("src/")}
    assert listed == {CATALOG[name]["filepath"] for name in free} | set(rules)


@pytest.mark.parametrize("stage", STAGES)
def test_parameters(stage: str) -> None:
    used = {name.removeprefix("params:") for name in PIPELINES[stage].inputs() if name.startswith("params:")}
    listed = entries(STAGES[stage]["params"])
    assert {key for keys in listed.values() for key in keys} == used
    for path, keys in listed.items():
        for key in keys:
            value = yaml.safe_load((REPOSITORY / path).read_text())
            for part in key.split("."):
                assert part in value, (path, key)
                value = value[part]


def imported(module: Path) -> Iterator[Path]:
    """Files of this package that a module imports, anywhere inside it."""
    for found in ast.walk(ast.parse(module.read_text())):
        if isinstance(found, ast.ImportFrom) and found.module:
            names = [found.module, *(f"{found.module}.{alias.name}" for alias in found.names)]
        elif isinstance(found, ast.Import):
            names = [alias.name for alias in found.names]
        else:
            continue
        for name in names:
            path = PACKAGE.parent / f"{name.replace('.', '/')}.py"
            if path.exists():
                yield path


def reached(start: Path) -> set[Path]:
    """A module and everything it imports, directly or not."""
    todo, seen = [start], set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += imported(module)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_cover_every_import(stage: str) -> None:
    listed = [REPOSITORY / path for path in STAGES[stage]["deps"] if path.startswith("src/")]
    assert all(path.exists() for path in listed)
    needed = {
        path
        for path in reached(PACKAGE / f"pipelines/{stage}/pipeline.py")
        if path.relative_to(PACKAGE).as_posix() not in PLUMBING
    }
    uncovered = {path for path in needed if not any(path == dep or dep in path.parents for dep in listed)}
    assert not uncovered


@pytest.mark.parametrize(
    ("knob", "stages"),
    [
        (
            "reward",
            {"reward", "bound", "align", "extend", "novel_view", "reconstruct", "evaluate", "report", "release"},
        ),
        ("extend", {"extend", "report"}),
        ("novel_view", {"novel_view", "report"}),
        ("reconstruct", {"reconstruct", "report"}),
    ],
)
def test_a_knob_reruns_its_stage_and_what_follows(knob: str, stages: set[str]) -> None:
    changed = {stage for stage in STAGES if knob in {k for ks in entries(STAGES[stage]["params"]).values() for k in ks}}
    while True:
        made = {path for stage in changed for path in outputs(stage)}
        more = {stage for stage in STAGES if made & set(STAGES[stage]["deps"])} - changed
        if not more:
            break
        changed |= more
    assert changed == stages


def test_views_depend_on_no_judge() -> None:
    """Those applications that choose among samples need the reward; this one does not."""
    rooms = {path.relative_to(PACKAGE).parts[0] for path in reached(PACKAGE / "pipelines/novel_view/pipeline.py")}
    assert "applications" in rooms
    assert not rooms & {"evaluation", "preferences", "reward", "trust"}


def test_pretraining_is_frozen() -> None:
    assert [stage for stage in STAGES if STAGES[stage].get("frozen")] == ["pretrain", "judge"]


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def test_the_lock_is_true_for_what_git_tracks() -> None:
    """Commands, parameters, and every dependency that git tracks are as they were when the stages ran."""
    from dvc.repo import Repo

    lock = yaml.safe_load((REPOSITORY / "dvc.lock").read_text())["stages"]
    assert set(STAGES) - {"pretrain", "judge"} <= set(lock)
    files = tracked()
    with Repo(str(REPOSITORY)) as repo:
        status = repo.status()
    for stage, changes in status.items():
        for change in changes:
            assert change != "changed command", stage
            for path, how in change.get("changed deps", {}).items() if isinstance(change, dict) else ():
                ours = path in files or any(file.startswith(f"{path}/") for file in files)
                assert not ours, f"{stage}: {path} {how}; run `dvc repro` and commit dvc.lock"
