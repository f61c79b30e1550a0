"""Every benchmark still runs and its two ways still agree; how fast they are is not a test's business."""

import math
import os
import subprocess
import sys

import pytest
import torch
from benchmarks.full_size import SIZES, random_pipeline

from prefpaint.inpainting.families.registry import family_of
from tests.conftest import REPOSITORY

# The first has sizes instead of --quick; the second is what it builds its models with.
OTHERS = {"families.py", "full_size.py"}
SCRIPTS = sorted({path.name for path in (REPOSITORY / "benchmarks").glob("*.py")} - OTHERS)
# Of the published networks; of 3 medium, with the 17 further channels of 4 weights for each of its 1,536 features.
WEIGHTS = {"sd15": 859_535_364, "sdxl": 2_567_478_084, "sd3": 2_028_328_000 + 104_448, "flux_fill": 11_902_391_360}


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


@pytest.mark.parametrize("family", SIZES)
def test_full_size_is_the_published_size(family: str) -> None:
    network = family_of(random_pipeline(family, "full", "meta", torch.bfloat16)).network
    assert sum(value.numel() for value in network.parameters()) == WEIGHTS[family]
    assert {value.dtype for value in network.parameters()} == {torch.bfloat16}


def test_a_family_is_measured_and_full_size_asks_for_a_gpu() -> None:
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import families;"
        "families.main(['--family', 'flux_fill', '--size', 'tiny']); families.main(['--family', 'flux_fill'])"
    )
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "--size full: the models of flux_fill need a GPU, and there is none; use --size tiny", done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 3
    for _, rate, ratio, share, memory in rows:
        numbers = [float(cell.strip(" %")) for cell in (rate, ratio, share)]
        assert all(math.isfinite(number) and number > 0 for number in numbers)
        assert memory.strip() == "not measured"
    assert all(f"{part} " in done.stdout for part in ("rollout", "scoring", "training"))
