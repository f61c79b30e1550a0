"""A later stage alone notices what changed before it; files stand for what stages would make."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.context.context import _convert_paths_to_absolute_posix
from kedro.framework.project import configure_project, pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.hooks import UpToDate
from prefpaint.images import MARKER
from prefpaint.preferences.store import RatingStore
from prefpaint.provenance import LEDGER
from prefpaint.settings import CONFIG_LOADER_ARGS
from tests.conftest import REPOSITORY


class Small:
    """A project whose stages write a line into each of their files instead of working."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mine: dict[str, Any] = {}
        self.memory: dict[str, str] = {}

    def hook(self, env: str | None = None, **given: Any) -> tuple[UpToDate, DataCatalog]:
        (self.path / "conf/local/parameters.yml").write_text(yaml.safe_dump(self.mine))
        hook = UpToDate()
        hook.loader = OmegaConfigLoader(str(self.path / "conf"), env=env, runtime_params=given, **CONFIG_LOADER_ARGS)
        catalog = _convert_paths_to_absolute_posix(self.path, hook.loader["catalog"])
        return hook, DataCatalog.from_config(catalog)

    def start(self, pipeline: Pipeline, env: str | None = None, missing: bool = False, **given: Any) -> UpToDate:
        hook, catalog = self.hook(env, **given)
        run = {
            "project_path": self.path,
            "runtime_params": given,
            "env": env or "local",
            "only_missing_outputs": missing,
        }
        hook.before_pipeline_run(run_params=run, pipeline=pipeline, catalog=catalog)
        return hook

    def run(self, *stages: str, pipeline: Pipeline | None = None, fail_in: str = "", **options: Any) -> None:
        """Run stages; `fail_in` is a node that ends after it has saved its first output."""
        pipeline = pipeline or sum((pipelines[stage] for stage in stages), Pipeline([]))
        hook = self.start(pipeline, **options)
        catalog = hook.provenance.catalog
        for node in pipeline.nodes:
            hook.before_node_run(node)
            given = hook.provenance.given
            loaded = [given.get(name.removeprefix("params:"), self.read(catalog, name)) for name in node.inputs]
            for output in node.outputs:
                hook.before_dataset_saved(node)
                self.write(catalog, output, f"{output} of {fingerprint(*loaded)}")
                if node.name == fail_in:
                    hook.on_pipeline_error()
                    return
                hook.after_dataset_saved(output, node)

    def read(self, catalog: DataCatalog, name: str) -> Any:
        path = self.place(catalog, name)
        if path and path.name == "ratings":
            return len(RatingStore(path).ratings()) if list(path.glob("*.sqlite")) else 0
        if path and path.is_dir():
            return [file.read_text() for file in sorted(path.iterdir())]
        return path.read_text() if path and path.is_file() else self.memory.get(name, "")

    def write(self, catalog: DataCatalog, name: str, text: str) -> None:
        path = self.place(catalog, name)
        if path is None:
            self.memory[name] = text
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if "ImageFolder" in type(catalog[name]).__name__:
            path.mkdir(exist_ok=True)
            (path / MARKER).write_text(text)
            for index in range(3):
                (path / f"{index}.png").write_text(f"{index} {text}")
        else:
            path.write_text(text)

    @staticmethod
    def place(catalog: DataCatalog, name: str) -> Path | None:
        described = catalog[name]._describe() if name in catalog else {}
        return Path(described["filepath"]) if described.get("filepath") else None

    def refusal(self, stage: str, **options: Any) -> str:
        with pytest.raises(PrefPaintError) as raised:
            self.start(pipelines[stage], **options)
        return str(raised.value)


STAGES = ("masks", "candidates", "preferences", "reward", "bound", "align")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A project in which everything up to `align` has run."""
    configure_project("prefpaint")
    path = tmp_path_factory.mktemp("finished") / "project"
    shutil.copytree(REPOSITORY / "conf", path / "conf", ignore=shutil.ignore_patterns("local"))
    (path / "conf/local").mkdir()
    (path / "data/06_models").mkdir(parents=True)
    for model in ("base", "judge"):
        (path / "data/06_models" / model).mkdir()
        (path / "data/06_models" / model / "model_index.json").write_text(model)
    photographs = path / "mine"
    photographs.mkdir()
    for name in ("a.png", "b.png"):
        (photographs / name).write_text(name)
    made = Small(path)
    made.mine = {"photographs": {"folder": str(photographs)}}
    made.run(*STAGES)
    return made


@pytest.fixture
def small(finished: Small, tmp_path: Path) -> Iterator[Small]:
    """A copy of it to change."""
    copy = Small(Path(shutil.copytree(finished.path, tmp_path / "project")))
    copy.mine = {"photographs": {"folder": str(finished.path / "mine")}}
    yield copy
    pipelines.set_requested(None)


def rate(small: Small, overall: int) -> None:
    store = RatingStore(small.path / "data/01_raw/ratings")
    row = {"candidate_id": "p_0", "rater": "anna", "structure": 3, "texture": 3, "overall": overall}
    store.add_ratings(pd.DataFrame([{**row, "rated_at": pd.Timestamp("2026-01-01", tz="UTC"), "sha256": "0" * 64}]))
    store.close()


@pytest.mark.parametrize("stage", ["candidates", "preferences", "reward", "bound", "align", "extend", "evaluate"])
def test_nothing_is_out_of_date_where_nothing_changed(small: Small, stage: str) -> None:
    small.start(pipelines[stage])


def test_ratings_that_preferences_refused(small: Small) -> None:
    rate(small, 3)
    small.start(pipelines["preferences"])  # Which then fails, before it saves anything.
    said = small.refusal("reward")
    assert said.startswith("ratings is out of date: rating_store, from which it was made, has changed since; run ")
    assert "`kedro run --pipeline=preferences`" in said and "--params=run.out_of_date=warn" in said
    assert "`kedro run --pipelines=preferences,reward,bound`" in small.refusal("align")
    small.run("preferences")
    small.start(pipelines["reward"])
    assert "kedro run --pipeline=reward`" in small.refusal("bound")


def test_a_login_to_the_studio_is_no_rating(small: Small) -> None:
    rate(small, 3)
    small.run("preferences", "reward")
    from prefpaint.studio.accounts import add_rater

    store = RatingStore(small.path / "data/01_raw/ratings")
    add_rater(store, "bert", False)
    store.close()
    small.start(pipelines["bound"])


@pytest.mark.parametrize("change", ["replaced", "removed", "added", "gone"])
def test_photographs_that_changed(small: Small, tmp_path: Path, change: str) -> None:
    folder = Path(shutil.copytree(small.mine["photographs"]["folder"], tmp_path / "mine"))
    small.mine = {"photographs": {"folder": str(folder)}}
    small.run(*STAGES)
    if change == "replaced":
        stat = (folder / "a.png").stat()
        (folder / "a.png").write_text("c.png")  # As many bytes.
        os.utime(folder / "a.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    elif change == "removed":
        (folder / "a.png").unlink()
    elif change == "added":
        (folder / "c.png").write_text("c")
    else:
        shutil.rmtree(folder)
    said = small.refusal("reward")
    assert said.startswith("photographs is out of date: the files of photographs.folder have changed since")
    assert "`kedro run --pipelines=masks,candidates,preferences`" in said
    assert "`kedro run --pipeline=masks`" in small.refusal("candidates")
    assert "masks,candidates,preferences,reward,bound,align`" in small.refusal("evaluate")


def test_candidates_that_were_deleted(small: Small) -> None:
    (small.path / "data/04_feature/candidate_images/1.png").unlink()
    said = small.refusal("reward")
    assert said.startswith("candidate_images is not whole: 1 of its 3 pictures are gone; run `kedro run --pipelines=")
    assert "candidates,preferences`" in said
    assert "`kedro run --pipeline=candidates`" in small.refusal("preferences")


def test_a_candidate_that_was_painted_over(small: Small) -> None:
    (small.path / "data/04_feature/candidate_images/1.png").write_text("mine")
    assert "candidate_images, from which it was made, has changed since" in small.refusal("reward")


@pytest.mark.parametrize("stage", ["preferences", "reward", "bound", "align", "evaluate", "extend"])
def test_the_base_was_exchanged(small: Small, stage: str) -> None:
    (small.path / "data/06_models/base/model_index.json").write_text("another")
    said = small.refusal(stage)
    assert said.startswith("candidate_images is out of date: base_model, from which it was made, has changed since")
    assert "run `kedro run --pipeline" in said and "=candidates" in said


def test_the_base_is_named_in_the_catalog(small: Small) -> None:
    entry = {"type": "prefpaint.datasets.DiffusersPipelineDataset", "hub_id": "owner/name"}
    (small.path / "conf/local/catalog.yml").write_text(yaml.safe_dump({"base_model": entry}))
    assert "base_model, from which it was made, has changed since" in small.refusal("align")
    moved = small.path / "elsewhere"
    shutil.copytree(small.path / "data/06_models/base", moved)
    entry = {"type": "prefpaint.datasets.DiffusersPipelineDataset", "filepath": str(moved)}
    (small.path / "conf/local/catalog.yml").write_text(yaml.safe_dump({"base_model": entry}))
    small.start(pipelines["align"])  # The same weights in another place.


def test_an_imported_reward(small: Small) -> None:
    (small.path / "data/06_models/reward").write_text("imported")
    (small.path / "data/06_models/reward_history.parquet").write_text("imported")
    said = small.refusal("bound")
    assert "embeddings is out of date: reward_model, from which it was made, has changed since; run" in said
    assert "`kedro run --pipeline=reward --from-nodes=score_candidates_with_reward`" in said
    small.run(pipeline=pipelines["reward"].from_nodes("score_candidates_with_reward"))
    small.start(pipelines["bound"])


@pytest.mark.parametrize(
    ("mine", "stage", "expected"),
    [
        ({"reward": {"seed": 4}}, "bound", "reward_model is out of date: it was made with reward.seed 0, and now 4"),
        ({"reward": {"backbone": {"input_size": 128}}}, "align", "reward.backbone.input_size "),
        ({"masks": {"prompts": {"train": 6}}}, "reward", "masks.prompts.train "),
        ({"candidates": {"seed": 9}}, "reward", "candidates.seed 0, and now 9"),
        ({"sampling": {"steps": 3}}, "preferences", "candidate_images is out of date: it was made with sampling.steps"),
        ({"preferences": {"seed": 9}}, "reward", "preferences.seed 0, and now 9"),
        ({"gamma": {"k": 0.7}}, "evaluate", "trust is out of date: it was made with gamma.k 0.5, and now 0.7"),
        ({"align": {"iterations": 2}}, "extend", "aligned_model is out of date: it was made with align.iterations"),
        ({"bound": {"delta": 0.2}}, "align", "bound.delta"),
    ],
)
def test_a_parameter_of_an_earlier_stage(small: Small, mine: dict[str, Any], stage: str, expected: str) -> None:
    small.mine |= mine
    assert expected in small.refusal(stage)


@pytest.mark.parametrize(
    "mine",
    [
        {"sampling": {"batch": 2, "processes": 2}},
        {"align": {"micro_batch": 2}},
        {"studio": {"overlap": 1}},
        {"evaluate": {"resamples": 100}},
        {"reward": {"score_batch": 8}},
    ],
)
def test_a_parameter_that_changes_nothing_before(small: Small, mine: dict[str, Any]) -> None:
    small.mine |= mine
    small.start(pipelines["evaluate"])


def test_what_the_command_line_gave_was_given_knowingly(small: Small) -> None:
    small.run("reward", reward={"seed": 4})
    small.run("bound")
    small.start(pipelines["align"], reward={"seed": 4})
    assert "with reward.seed 4, and now 5" in small.refusal("align", reward={"seed": 5})
    small.mine |= {"reward": {"seed": 6}}
    assert "with reward.seed 4, and now 6" in small.refusal("align")


def test_a_parameter_of_the_command_line_that_an_earlier_stage_did_not_have(small: Small) -> None:
    assert "with reward.seed 0, and now 4" in small.refusal("bound", reward={"seed": 4})


def test_another_environment(small: Small) -> None:
    small.mine = {}
    small.run(*STAGES)
    said = small.refusal("bound", env="paper")
    assert "(environment local)" in said and "--env=paper`" in said


def test_warn_uses_what_is_there(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    small.mine |= {"reward": {"seed": 4}}
    small.start(pipelines["bound"], run={"out_of_date": "warn"})
    assert "reward_model is out of date" in caplog.text


def test_a_stage_that_failed_while_it_saved(small: Small) -> None:
    small.run("preferences", fail_in="score_candidates", preferences={"seed": 3})
    said = small.refusal("bound")
    assert "scores is not whole: the run that made it failed while it was saved; run `kedro run --pipeline" in said
    small.run("preferences")
    small.start(pipelines["reward"])


def test_a_stage_that_failed_and_changed_nothing(small: Small) -> None:
    small.run("preferences", fail_in="score_candidates")
    small.start(pipelines["reward"])


def test_work_before_it_in_the_same_run(small: Small) -> None:
    """masks makes other prompts here, so what preferences made before no longer fits reward."""
    with pytest.raises(PrefPaintError, match="run `kedro run --pipelines=masks,candidates,preferences`"):
        small.run("masks", "reward", masks={"seed": 3})


def test_missing_outputs_alone_are_not_added_to_old_ones(small: Small) -> None:
    small.mine |= {"reward": {"seed": 4}}
    with pytest.raises(
        PrefPaintError, match=r"with reward.seed 0, and now 4; run `kedro run --pipelines=reward,bound,align`"
    ):
        small.start(pipelines["__default__"], missing=True)


def test_the_whole_pipeline_asks_nothing(small: Small) -> None:
    small.mine = {"photographs": {"source": "other"}, "reward": {"seed": 4}}
    small.run(*STAGES)
    small.start(pipelines["evaluate"])


# ---------------------------------------------------------------- what must not be taken for a change


def touch(small: Small) -> None:
    for file in (small.path / "data").rglob("*"):
        os.utime(file, (1, 1))


def test_other_times_after_a_copy(small: Small) -> None:
    touch(small)
    small.start(pipelines["evaluate"])
    small.start(pipelines["evaluate"])


def test_records_that_are_lost_or_damaged(small: Small) -> None:
    for text in ("", "{", "null", "[]", '{"records": 3}'):
        (small.path / LEDGER).write_text(text)
        small.mine |= {"reward": {"seed": 4}}
        small.start(pipelines["evaluate"])


def test_dvc_checkout_of_other_work(small: Small, tmp_path: Path) -> None:
    """Another machine's outputs come without its records: of them nothing is known."""
    mine = small.mine
    other = Small(Path(shutil.copytree(small.path, tmp_path / "other")))
    other.mine = mine | {"masks": {"seed": 3}, "reward": {"seed": 4}}
    other.run(*STAGES)
    for folder in ("02_intermediate", "03_primary", "04_feature", "05_model_input", "06_models", "07_model_output"):
        shutil.rmtree(small.path / "data" / folder)
        shutil.copytree(other.path / "data" / folder, small.path / "data" / folder)
    small.mine = other.mine
    small.start(pipelines["evaluate"])
    small.start(pipelines["bound"])


def test_a_fresh_clone_with_data_copied_in(small: Small) -> None:
    (small.path / LEDGER).unlink()
    touch(small)
    for stage in ("reward", "align", "evaluate"):
        small.start(pipelines[stage])


def test_a_knob_that_the_earlier_version_did_not_have(small: Small) -> None:
    ledger = json.loads((small.path / LEDGER).read_text())
    for kind in ("parameters", "settings"):
        del ledger["records"]["train_reward_model"][kind]["reward"]["ensemble"]
    (small.path / LEDGER).write_text(json.dumps(ledger))
    small.start(pipelines["bound"])


def test_inputs_filled_in_by_hand(small: Small) -> None:
    shutil.rmtree(small.path / "data/05_model_input")
    (small.path / "data/05_model_input").mkdir()
    for name in ("scores.parquet", "noiseless.parquet"):
        (small.path / "data/05_model_input" / name).write_text("mine")
    small.start(pipelines["reward"])


def test_other_ranks_look_at_nothing(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    small.mine |= {"reward": {"seed": 4}}
    small.start(pipelines["bound"])


def test_a_full_disk_does_not_stop_a_run_over_its_records(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    (small.path / LEDGER).unlink()
    (small.path / LEDGER).mkdir()
    small.run("reward")
    assert "later stages will not notice what changes" in caplog.text


def test_commands_show_what_there_is_and_say_that_it_is_old(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    from prefpaint.commands.base import RATED, warn_of_old

    def warned() -> str:
        hook, catalog = small.hook()
        warn_of_old(SimpleNamespace(project_path=small.path, config_loader=hook.loader, catalog=catalog), RATED)
        return capsys.readouterr().err

    assert warned() == ""
    small.mine |= {"masks": {"seed": 3}}
    assert warned().startswith("Warning: prompt_plan is out of date") and "run.out_of_date" not in warned()
