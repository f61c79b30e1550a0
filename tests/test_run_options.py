"""Every misspelt or unsuitable option of `kedro run` is one sentence before anything runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from prefpaint.commands.run import run
from tests.conftest import REPOSITORY


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(REPOSITORY)
    bootstrap_project(REPOSITORY)
    yield
    pipelines.set_requested(None)


def refusal(*options: str) -> str:
    done = CliRunner().invoke(run, options)
    assert done.exit_code == 1, done.output
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 1 and said[0].startswith("Error: ")
    return said[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pipeline=rewrad"], "pipeline rewrad: does not exist; did you mean reward?"),
        (["--pipelines=masks,candidate"], "pipeline candidate: does not exist; did you mean candidates?"),
        (["--pipeline=Reward"], "did you mean reward?"),
        (["--pipeline=novel-view"], "did you mean novel_view?"),
        (["--pipeline=qqq"], "pipeline qqq: does not exist; allowed are masks,"),
        (["--nodes=train_reward_modle"], "node train_reward_modle: does not exist; did you mean train_reward_model?"),
        (["--from-nodes=train_reward"], "did you mean train_reward_model?"),
        (["--to-nodes=align_bas"], "did you mean align_base_model?"),
        (
            ["--pipeline=bound", "--nodes=train_reward_model"],
            "node train_reward_model: does not exist in what is run; it belongs to `--pipelines=reward`",
        ),
        (["--to-outputs=aligned_mode"], "dataset aligned_mode: does not exist; did you mean aligned_model?"),
        (["--from-inputs=score"], "dataset score: does not exist; did you mean scores?"),
        (["--pipeline=masks", "--to-outputs=aligned_model"], "belongs to `--pipelines=align"),
        (["--tags=slow"], "tag slow: this project's nodes have no tags; use --pipelines or --nodes"),
        (["--namespaces=train"], "namespace train: this project's nodes have no namespaces"),
        (["--runner=ParalellRunner"], "--runner=ParalellRunner: there is no such runner"),
        (["--runner=no.such.Runner"], "there is no such runner"),
        (["--runner=os.path"], "nodes run one after the other"),
        (["--runner=ParallelRunner"], "see sampling.processes and align.processes"),
        (["--runner=ThreadRunner"], "nodes run one after the other"),
        (["--async"], "--async: pictures are made while they are saved"),
        (["--runner-params=is_async=True"], "--async: "),
        (["--runner-params=max_workers=2"], "runner parameter max_workers: does not exist"),
        (["--load-versions=scores:2026-01-01T00.00.00.000Z"], "--load-versions: datasets of this project have no"),
        (["--load-versions=scores"], "Expected the form of 'load_versions'"),
        (["--from-nodes=align_base_model", "--to-nodes=train_reward_model"], "no node fits all options"),
        (["--from-inputs=report", "--pipeline=report"], "no node fits all options"),
        (["--pipeline=reward", "--pipelines=bound"], "cannot be used together"),
        (["--env=papr", "--pipeline=reward"], "environment papr: "),
        (["--pipeline=reward", "--params=rewrad.seed=4"], "parameter rewrad: is not a known parameter; did you mean"),
        (["--pipeline=reward", "--params=reward.sead=4"], "reward.sead: is not a known parameter; did you mean seed?"),
        (["--pipeline=reward", "--params=reward=4"], "parameter reward: "),
    ],
)
def test_one_sentence(options: list[str], expected: str) -> None:
    assert expected in refusal(*options)


def test_the_environment_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDRO_ENV", "heldout")
    assert "did you mean held_out? allowed are base, held_out, local, paper" in refusal("--pipeline=reward")


@pytest.mark.parametrize("text", ["pipeline: reward\n", "run: 3\n", "run:\n  - a\n", "{", "runs:\n  env: paper\n", ""])
def test_a_file_of_options_without_its_section(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yml"
    file.write_text(text)
    assert "--config: the file must hold a section `run`" in refusal(f"--config={file}")


def test_a_file_of_options_with_a_wrong_key(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text("run:\n  pipelin: reward\n")
    assert "Key `pipelin` in provided configuration is not valid." in refusal(f"--config={file}")


def test_names_in_a_file_of_options(tmp_path: Path) -> None:
    file = tmp_path / "run.yml"
    file.write_text("run:\n  pipeline: rewrad\n")
    assert "did you mean reward?" in refusal(f"--config={file}")


def test_from_a_folder_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY / "data")
    assert "did you mean reward?" in refusal("--pipeline=rewrad")
    assert Path.cwd() == REPOSITORY


def test_dvc_does_not_see_an_environment_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEDRO_ENV", "paper")
    monkeypatch.setenv("DVC_STAGE", "dvc.yaml:reward")
    said = refusal("--pipeline=reward")
    assert "KEDRO_ENV=paper: DVC does not see it" in said and "`kedro run --env=paper --pipeline=reward`" in said


def test_a_packed_configuration(tmp_path: Path) -> None:
    packed = tmp_path / "conf-prefpaint.tar.gz"
    packed.touch()
    assert "is not a folder; put the configuration into conf here" in refusal(f"--conf-source={packed}")


def test_kedros_own_commands_end_in_a_sentence_too(capsys: pytest.CaptureFixture[str]) -> None:
    from prefpaint import cli
    from prefpaint.errors import PrefPaintError

    try:
        raise ValueError("of Kedro") from PrefPaintError("environment papr: does not exist")
    except ValueError as error:
        cli._in_one_sentence(ValueError, error, error.__traceback__)
    assert capsys.readouterr().err == "Error: environment papr: does not exist\n"
    cli._in_one_sentence(ZeroDivisionError, ZeroDivisionError("unexpected"), None)
    assert "ZeroDivisionError" in capsys.readouterr().err
