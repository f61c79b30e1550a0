"""Every benchmark still runs and its two ways still agree; how fast they are is not a test's business."""

import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

SCRIPTS = sorted(path.name for path in (REPOSITORY / "benchmarks").glob("*.py"))


def test_there_are_benchmarks() -> None:
    assert {"scoring.py", "trust.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_quick_run(script: str) -> None:
    call = [sys.executable, str(REPOSITORY / "benchmarks" / script), "--quick"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 6


def test_scores_that_differ_end_in_an_error() -> None:
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import scoring;"
        "scoring.contrast_one = lambda *_: 100.0; scoring.main(['--quick'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 1
    assert "scores differ by" in done.stderr
