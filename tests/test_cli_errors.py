"""What a user can mend ends in one sentence and exit code 1, without a traceback, and nothing is lost."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Project, make_project


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a run that failed as it should."""
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and done.stderr.rstrip().endswith(errors[0])
    return errors[0]


def photographs(folder: Path, count: int = 4) -> Path:
    """A user's folder with small readable images."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        Image.fromarray(rng.integers(0, 256, (60, 60, 3)).astype(np.uint8)).save(folder / f"{index}.png")
    return folder


def test_a_misspelt_parameter(project: Project) -> None:
    project.set(masks={"geometry": {"yawn": 0.1}})
    said = sentence(project.run("run", "--pipeline=masks"))
    assert "masks.geometry.yawn: is not a known parameter; did you mean yaw?" in said


def test_align_before_reward(project: Project) -> None:
    message = sentence(project.run("run", "--pipeline=align"))
    assert "does not exist yet; run `kedro run --pipeline=candidates` or `dvc pull`" in message


def test_reward_before_preferences_names_the_pipeline_and_the_file(project: Project) -> None:
    message = sentence(project.run("run", "--pipeline=bound", "--env=paper"))
    assert "embeddings: " in message and "embeddings.parquet" in message
    assert "`kedro run --pipeline=reward --env=paper`" in message


def test_an_empty_folder_of_photographs(project: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    project.set(photographs={"folder": str(tmp_path / "empty")})
    assert "holds no image" in sentence(project.run("run", "--pipeline=masks"))


def test_text_files_renamed_png(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.png").write_text("dear diary")
    project.set(photographs={"folder": str(folder)})
    assert "none of the 2 image files" in sentence(project.run("run", "--pipeline=masks"))


def test_odd_files_are_skipped_by_name_and_the_rest_is_used(project: Project, tmp_path: Path) -> None:
    folder = photographs(tmp_path / "mine")
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (30_000, 700), (9, 9, 9)).save(folder / "wide.png")
    shutil.copy(folder / "0.png", folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:200])
    project.set(photographs={"folder": str(folder)})
    done = project.run("run", "--pipeline=masks", "--to-nodes=divide_photographs_into_splits")
    assert done.returncode == 0, done.stderr
    skipped = [line for line in done.stderr.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == 2 and "cut.jpg" in skipped[0] and "one.png: 1x1 pixels" in skipped[1]

    project.set(photographs={"on_unreadable": "stop", "longest_side": 512})
    assert "cut.jpg: cannot be read" in sentence(project.run("run", "--pipeline=masks"))


def test_a_checkpoint_with_a_missing_file(ready: Project) -> None:
    weights = ready.path / "data/06_models/base/unet/diffusion_pytorch_model.safetensors"
    weights.unlink()
    assert f"{weights.parent}: its weights" in sentence(ready.run("run", "--pipeline=candidates"))


@pytest.fixture(scope="session")
def masks_done(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    """A project in which `masks` has run."""
    return make_project(tmp_path_factory.mktemp("masks_done") / "project", tiny_base).finish("masks")


@pytest.fixture
def ready(masks_done: Project, tmp_path: Path) -> Project:
    """A copy of it to break."""
    return masks_done.copy(tmp_path / "ready")


def checksums(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_a_full_disk_in_the_middle_of_candidates_goes_on_to_the_same_result(ready: Project) -> None:
    folder = ready.path / "data/04_feature/candidate_images"
    assert ready.run("run", "--pipeline=candidates").returncode == 0
    whole = checksums(folder)
    shutil.rmtree(folder)

    # No file of a kilobyte fits any more; a candidate of noise takes three.
    message = sentence(ready.run("run", "--pipeline=candidates", limit_file_size=1000))
    assert "cannot be written (File too large); nothing was changed" in message
    assert not checksums(folder).keys() - whole.keys()
    assert ready.run("run", "--pipeline=candidates").returncode == 0
    assert checksums(folder) == whole


def test_kill_9_in_the_middle_of_candidates_goes_on_to_the_same_result(ready: Project) -> None:
    import signal
    import sys
    import time

    folder = ready.path / "data/04_feature/candidate_images"
    ready.set(sampling={"batch": 2})
    process = subprocess.Popen(
        [sys.executable, "-m", "kedro", "run", "--pipeline=candidates"],
        cwd=ready.path,
        env=ready.environment,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and not checksums(folder):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before the kill"
    left = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!.]*.png")}
    assert left

    assert ready.run("run", "--pipeline=candidates").returncode == 0
    resumed = checksums(folder)
    assert {name: (folder / name).stat().st_mtime_ns for name in left} == left, "what was there was made again"
    shutil.rmtree(folder)
    assert ready.run("run", "--pipeline=candidates").returncode == 0
    assert checksums(folder) == resumed


def test_an_unexpected_error_keeps_its_traceback(project: Project) -> None:
    nodes = project.path / "src/prefpaint/pipelines/masks/nodes.py"
    nodes.write_text(nodes.read_text().replace("return photograph_work(source)", "return 1 / 0"))
    done = project.run("run", "--pipeline=masks")
    assert done.returncode == 1 and "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_nothing_phones_home(project: Project) -> None:
    import os

    import prefpaint

    assert prefpaint.__name__ and os.environ["KEDRO_DISABLE_TELEMETRY"] == os.environ["DO_NOT_TRACK"] == "1"
    assert (project.path / ".telemetry").read_text().strip() == "consent: false"


def test_a_stage_that_begins_with_what_is_out_of_date(ready: Project) -> None:
    ready.set(masks={"seed": 7})
    message = sentence(ready.run("run", "--pipeline=candidates"))
    assert "is out of date: it was made with masks.seed 0, and now 7; run `kedro run --pipeline=masks`" in message


def test_a_second_run_is_told_who_the_first_is(ready: Project) -> None:
    from prefpaint.lock import LOCK, RunLock

    lock = RunLock(ready.path / LOCK)
    lock.take("kedro run --pipelines=align")
    message = sentence(ready.run("run", "--pipeline=candidates"))
    assert "`kedro run --pipelines=align` (process " in message and "is at work in this project" in message
    lock.give_back()


def test_a_misspelt_pipeline(project: Project) -> None:
    assert "pipeline candidats: does not exist; did you mean candidates?" in sentence(
        project.run("run", "--pipeline=candidats")
    )
