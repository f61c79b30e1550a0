"""Several real processes: sums, shares, crashes, and whole pipelines with one copy of each output."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from tests.conftest import Project


def test_alone_nothing_happens() -> None:
    values = [torch.ones(2)]
    distributed.sum_in_place(values)
    distributed.barrier()
    assert values[0].tolist() == [1, 1]
    assert distributed.gather("a") == ["a"] and list(distributed.share(range(3))) == [0, 1, 2]
    assert distributed.is_main() and not torch.distributed.is_initialized()


@pytest.mark.parametrize(("count", "total"), [(1, 5), (2, 5), (3, 7), (4, 2)])
def test_shares_make_up_the_whole(count: int, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(count))
    parts = []
    for number in range(count):
        monkeypatch.setenv("RANK", str(number))
        parts.append(list(distributed.share(range(total))))
    assert parts == [part.tolist() for part in np.array_split(np.arange(total), count)]


def test_processes_see_each_other(tmp_path: Path) -> None:
    def work() -> None:
        own = distributed.rank()
        tensors = [torch.full((2,), float(own + 1)), torch.tensor([[10.0 * own]])]
        distributed.sum_in_place(tensors)
        gathered = distributed.gather(("from", own))
        (tmp_path / str(own)).write_text(f"{tensors[0].tolist()} {tensors[1].tolist()} {gathered}")

    distributed.launch(work, 2, "test")
    expected = "[3.0, 3.0] [[10.0]] [('from', 0), ('from', 1)]"
    assert [(tmp_path / name).read_text() for name in ("0", "1")] == [expected] * 2
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("way", ["error", "exit"])
def test_a_crash_of_one_ends_the_others(way: str) -> None:
    def work() -> None:
        if distributed.rank() == 1:
            if way == "exit":
                import os

                os._exit(3)
            raise PrefPaintError("prompts: row 7 is bad; mend it")
        time.sleep(600)

    started = time.monotonic()
    message = r"prompts: row 7 is bad; mend it$" if way == "error" else r"exit code 3"
    with pytest.raises(PrefPaintError, match=rf"test: process 1 of 2 failed and the others were ended: .*{message}"):
        distributed.launch(work, 2, "test")
    # Loading torch twice takes some seconds; the sleeper would take ten minutes.
    assert time.monotonic() - started < 120


def pictures(project: Project) -> dict[str, bytes]:
    folder = project.path / "data/04_feature/candidate_images"
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def torchrun(project: Project, pipeline: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "kedro", "run"]
    environment = {**project.environment, "GLOO_SOCKET_IFNAME": "lo"}
    call.append(f"--pipeline={pipeline}")
    return subprocess.run(call, cwd=project.path, env=environment, capture_output=True, text=True, check=False)


def test_one_and_two_processes_end_alike(project: Project) -> None:
    """Candidates byte for byte, aligned weights to 1e-5, under an outer launcher and started inside the node."""
    # Adam divides a gradient near 0 by its own size, so that rounding may change an update by a share of the learning
    # rate; of two iterations at this one, averaged, that stays below 1e-5.
    project.set(align={"lr": 5e-5, "average": 0.95})
    assert project.run("run", "--pipelines=masks,candidates,preferences,reward,bound").returncode == 0
    alone = pictures(project)
    table = project.path / "data/04_feature/candidates.parquet"
    for way in ("torchrun", "inside"):
        for file in (project.path / "data/04_feature/candidate_images").glob("train_*.png"):
            file.unlink()
        table.unlink()
        done = (
            torchrun(project, "candidates")
            if way == "torchrun"
            else project.run("run", "--pipeline=candidates", "--params=sampling.processes=2")
        )
        assert done.returncode == 0, done.stderr
        assert pictures(project) == alone and table.exists()
        assert done.stderr.count("paint candidates …") == 1, "one of them reports"

    def weights() -> dict[str, torch.Tensor]:
        return load_file(project.path / "data/06_models/aligned/unet/diffusion_pytorch_model.safetensors")

    def history() -> pd.DataFrame:
        return pd.read_parquet(project.path / "data/06_models/align_history.parquet")

    assert project.run("run", "--pipeline=align").returncode == 0
    one, figures = weights(), history()
    for way in ("torchrun", "inside"):
        # Another seed first: its finished run gives way.
        project.set(align={"seed": 1})
        assert project.run("run", "--pipeline=align").returncode == 0
        project.set(align={"seed": 0})
        done = (
            torchrun(project, "align")
            if way == "torchrun"
            else project.run("run", "--pipeline=align", "--params=align.processes=2")
        )
        assert done.returncode == 0, done.stderr
        two = weights()
        for name, value in one.items():
            # float32: gradients are summed in another order, and Adam divides them by their own size.
            torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)
        # The sums themselves: an update of 6e-5 alone would hide a half that is missing.
        pd.testing.assert_frame_equal(history(), figures, rtol=1e-4)
    for mode in ("nft", "awm", "refl"):
        project.set(align={"mode": mode})
        assert project.run("run", "--pipeline=align").returncode == 0
        one, figures = weights(), history()
        shutil.rmtree(project.path / "data/06_models/workspace/align")
        assert project.run("run", "--pipeline=align", "--params=align.processes=2").returncode == 0
        two = weights()
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)
        pd.testing.assert_frame_equal(history(), figures, rtol=1e-4)


def test_a_crash_under_an_outer_launcher_says_why(project: Project) -> None:
    project.set(masks={"prompts": {"train": 6, "validation": 1, "test": 4, "seen": 4, "unseen": 4}})
    assert project.run("run", "--pipelines=masks,candidates").returncode == 0
    (project.path / "data/03_primary/prompts.parquet").write_bytes(b"half")
    done = torchrun(project, "candidates")
    assert done.returncode != 0
    assert "prompts.parquet: cannot be read" in done.stderr
