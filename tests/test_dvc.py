"""dvc.yaml says what the pipelines, the catalog and the imports say, and dvc.lock is true."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.pipeline import Pipeline

from prefpaint.errors import PrefPaintError
from prefpaint.parameters import ParametersLoader, check_parameters, known_models
from prefpaint.pipeline_registry import register_pipelines
from prefpaint.settings import CONFIG_LOADER_ARGS
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
    "lock.py",
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
        assert options.get("persist", False) == (kind in ("ImageFolderDataset", "FoldersDataset")), name
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
    assert listed == {CATALOG[name]["filepath"] for name in free} | set(rules) | {"conf/local"}


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


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one DVC stage: what `reward` reads of the configuration, and no work."""
    from dvc.repo import Repo

    (tmp_path / "conf/local").mkdir(parents=True)
    (tmp_path / "conf/local/.gitkeep").touch()
    for path in (".dvcignore", "params.yaml", "conf/base/parameters_reward.yml"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / path, tmp_path / path)
    stage = {"cmd": "true", "deps": ["conf/local"], "params": STAGES["reward"]["params"]}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"reward": stage}}))
    monkeypatch.chdir(tmp_path)
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
    assert out_of_date(tmp_path) == "{}"
    return tmp_path


def out_of_date(path: Path) -> str:
    """What `dvc status` says."""
    from dvc.repo import Repo

    with Repo(str(path)) as repo:
        return str(repo.status())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("conf/local/parameters.yml", "reward: {seed: 4}"),
        ("conf/local/parameters_reward.yml", "reward: {seed: 4}"),
        ("conf/local/deep/parameters.yml", "reward: {seed: 4}"),
        ("conf/local/catalog.yml", "base_model: {hub_id: owner/name}"),
        ("conf/base/parameters_reward.yml", "reward: {seed: 4}"),
        ("params.yaml", "reward: {seed: 4}"),
    ],
)
def test_dvc_sees_every_source_of_parameters(small: Path, file: str, text: str) -> None:
    (small / file).parent.mkdir(exist_ok=True)
    (small / file).write_text(text)
    assert ("conf/local" if "local" in file else file) in out_of_date(small)


def test_dvc_does_not_look_at_credentials(small: Path) -> None:
    (small / "conf/local/credentials.yml").write_text("rating_store: {url: secret}")
    assert out_of_date(small) == "{}"


@pytest.mark.parametrize(
    ("override", "key", "field", "expected"),
    [
        ("reward.seed=4", "reward", "seed", 4),
        ("align.mode=ddpo", "align", "mode", "ddpo"),
        ("gamma.k=0.7", "gamma", "k", 0.7),
        ("photographs.size=[64,96]", "photographs", "size", [64, 96]),
        ("masks.prompts.train=7", "masks", "prompts", {"train": 7}),
        ("evaluate.resamples=150", "evaluate", "resamples", 150),
        ("conf/base/parameters_reward.yml:reward.seed=5", "reward", "seed", 5),
    ],
)
def test_the_short_form_of_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, key: str, field: str, expected: Any
) -> None:
    """What `dvc exp run -S` does to the files is what Kedro then runs with."""
    from dvc.utils.cli_parse import to_path_overrides
    from dvc.utils.hydra import apply_overrides

    shutil.copytree(REPOSITORY / "conf/base", tmp_path / "conf/base")
    (tmp_path / "conf/local").mkdir()
    shutil.copy(REPOSITORY / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    for path, changes in to_path_overrides([override]).items():
        apply_overrides(path, changes)
    loaded = ParametersLoader(str(tmp_path / "conf"), **CONFIG_LOADER_ARGS)["parameters"]
    found = loaded[key][field]
    assert (expected.items() <= found.items()) if isinstance(expected, dict) else found == expected
    check_parameters(loaded, known_models(PIPELINES))


def test_params_yaml_names_every_knob_of_the_stages_and_sets_none() -> None:
    from prefpaint.parameters import read_overrides

    named = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    loaded = ParametersLoader(str(REPOSITORY / "conf"), env="base", **CONFIG_LOADER_ARGS)["parameters"]
    models = known_models(PIPELINES)

    def names(value: Any) -> Any:
        return {key: names(inner) for key, inner in value.items()} if isinstance(value, dict) and value else None

    stages = {key for stage in STAGES.values() for keys in entries(stage["params"]).values() for key in keys}
    full = {key: models[key].model_validate(loaded[key]).model_dump(mode="json") for key in stages}
    assert names(named) == names(full), "run `python docs/configuration.py`"
    assert read_overrides(REPOSITORY / "params.yaml") == {}


@pytest.mark.parametrize("text", ["reward", "[1]", "reward: [", "reward: {seed: 4}\nreward: ]"])
def test_params_yaml_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    (tmp_path / "conf/base").mkdir(parents=True)
    with pytest.raises(PrefPaintError, match=r"params\.yaml: "):
        ParametersLoader(str(tmp_path / "conf"), **CONFIG_LOADER_ARGS)


def test_the_command_line_is_above_params_yaml(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "conf/base", tmp_path / "conf/base")
    (tmp_path / "conf/local").mkdir()
    (tmp_path / "conf/local/parameters.yml").write_text("reward: {seed: 1, ensemble: 2}")
    (tmp_path / "params.yaml").write_text("reward: {seed: 4, epochs: null}")
    given = {"reward": {"seed": 9}}
    for runtime, seed in ((None, 4), (given, 9)):
        loader = ParametersLoader(str(tmp_path / "conf"), runtime_params=runtime, **CONFIG_LOADER_ARGS)
        assert (loader["parameters"]["reward"]["seed"], loader["parameters"]["reward"]["ensemble"]) == (seed, 2)


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


def test_what_git_ignores_anywhere_is_no_change_of_a_stage() -> None:
    """Otherwise the lock holds the checksum of a folder that nobody else has, such as node_modules."""
    ignored, unseen = (
        {line for line in (REPOSITORY / name).read_text().splitlines() if line and not line.startswith(("#", "/", "!"))}
        for name in (".gitignore", ".dvcignore")
    )
    assert "node_modules/" in ignored and ignored <= unseen


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
