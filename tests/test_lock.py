"""One run at a time, however the one before ended."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.hooks import OneRun
from prefpaint.lock import LOCK, RunLock

_fork = multiprocessing.get_context("fork")


def hold(path: Path, ready: Connection) -> None:
    lock = RunLock(path)
    lock.take("kedro run --pipelines=align")
    ready.send(os.getpid())
    signal.pause()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data/.run.lock"


def test_the_second_is_refused_and_told_who_the_first_is(path: Path) -> None:
    here, there = _fork.Pipe()
    first = _fork.Process(target=hold, args=(path, there))
    first.start()
    pid = here.recv()
    second = RunLock(path)
    try:
        with pytest.raises(PrefPaintError, match=rf"`kedro run --pipelines=align` \(process {pid}, since \d{{4}}-"):
            second.take("kedro run")
        with pytest.raises(PrefPaintError, match="is at work in this project"):
            second.take("kedro run")
    finally:
        first.kill()  # -9: nothing tidies up.
        first.join()
    second.take("kedro run")
    assert json.loads(path.read_text())["pid"] == os.getpid()
    second.give_back()


def test_a_forked_child_that_outlives_its_parent_does_not_keep_it(path: Path) -> None:
    lock = RunLock(path)
    lock.take("kedro run")
    child = _fork.Process(target=signal.pause)
    child.start()
    try:
        lock.give_back()
        code = f"from pathlib import Path; from prefpaint.lock import RunLock; RunLock(Path({str(path)!r})).take('x')"
        subprocess.run([sys.executable, "-c", code], check=True)
    finally:
        child.kill()
        child.join()


def test_a_run_that_fails_its_checks_gives_it_back(path: Path) -> None:
    lock = RunLock(path)
    with pytest.raises(PrefPaintError, match="wrong"), lock.unless_it_fails("kedro run"):
        raise PrefPaintError("wrong")
    assert path.read_text() == ""
    with lock.unless_it_fails("kedro run"):
        pass
    assert json.loads(path.read_text())["what"] == "kedro run"
    lock.take("kedro run --pipelines=reward")  # A notebook runs twice.
    assert "reward" in json.loads(path.read_text())["what"]
    lock.give_back()


def test_a_holder_that_has_not_written_its_name_yet(path: Path) -> None:
    here, there = _fork.Pipe()
    first = _fork.Process(target=hold, args=(path, there))
    first.start()
    here.recv()
    path.write_text("")
    try:
        with pytest.raises(PrefPaintError, match="another run is at work"):
            RunLock(path).take("kedro run")
    finally:
        first.kill()
        first.join()


def test_other_ranks_of_a_run_do_not_ask_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    hook = OneRun()
    step = hook.before_pipeline_run({"project_path": tmp_path, "pipeline_names": ["align"]})
    next(step)
    assert not (tmp_path / LOCK).exists()
    hook.after_pipeline_run()


def test_the_hook_names_what_runs(tmp_path: Path) -> None:
    hook = OneRun()
    step = hook.before_pipeline_run({"project_path": tmp_path, "pipeline_names": ["reward", "bound"]})
    next(step)
    assert json.loads((tmp_path / LOCK).read_text())["what"] == "kedro run --pipelines=reward,bound"
    hook.on_pipeline_error()
    assert (tmp_path / LOCK).read_text() == ""
