"""kill -9 in the middle of reward and of align: the same command then ends in the same files."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project, make_project

ITERATIONS = 4


@pytest.fixture(scope="module")
def bound_done(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    """A project in which everything up to `bound` has run."""
    made = make_project(tmp_path_factory.mktemp("bound_done") / "project", tiny_base)
    made.set(align={"iterations": ITERATIONS})
    return made.finish("masks", "candidates", "preferences", "reward", "bound")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_when(project: Project, pipeline: str, seen: Callable[[str], bool]) -> None:
    """Start a pipeline and kill it without warning as soon as something is seen, given what it has printed."""
    log = project.path / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", f"--pipeline={pipeline}"],
            cwd=project.path,
            env={**project.environment, "PYTHONUNBUFFERED": "1"},
            stdout=output,
            stderr=output,
        )
    while process.poll() is None and not seen(log.read_text()):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before the kill"


@pytest.mark.parametrize(
    ("pipeline", "mode"), [("reward", "nft"), ("align", "ddpo"), ("align", "nft"), ("align", "awm"), ("align", "refl")]
)
def test_the_same_command_ends_in_the_same_files(bound_done: Project, tmp_path: Path, pipeline: str, mode: str) -> None:
    result = {"reward": "data/06_models/reward", "align": "data/06_models/aligned"}[pipeline]
    project = bound_done.copy(tmp_path / "project")
    project.set(align={"mode": mode})
    assert project.run("run", f"--pipeline={pipeline}").returncode == 0
    whole = files(project.path / result)

    workspace = project.path / "data/06_models/workspace/align"
    shutil.rmtree(project.path / result)
    shutil.rmtree(workspace, ignore_errors=True)
    if pipeline == "align":
        # After the first checkpoint, somewhere in the second iteration or its checkpoint.
        kill_when(project, pipeline, lambda printed: any(workspace.glob("iteration_*.pt")))
    else:
        kill_when(project, pipeline, lambda printed: "train reward model …" in printed)
    assert not (project.path / result).exists()
    assert project.run("run", f"--pipeline={pipeline}").returncode == 0
    assert files(project.path / result) == whole
