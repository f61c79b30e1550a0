"""What several tests need: quiet threads, and a miniature project of its own to run commands in."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

import prefpaint  # noqa: F401 - sets what libraries read when they are loaded
from tests.commands import kedro

# Before torch is imported: two test processes on two cores would otherwise fight for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples every time, and no stopwatch: it would measure what else the machine does.
settings.register_profile("steady", deadline=None, derandomize=True, database=None, max_examples=50)
settings.load_profile("steady")

# Fixtures of rooms that share them.
pytest_plugins = ("tests.rating",)

REPOSITORY = Path(__file__).resolve().parents[1]

# Every stage, as small as it goes; the code is that of the default and of the paper's scale.
MINIATURE: dict[str, dict[str, Any]] = {
    "photographs": {"size": 32, "crop_side": [40, 120]},
    "masks": {"prompts": {"train": 6, "validation": 4, "test": 4, "seen": 4, "unseen": 4}},
    "sampling": {"steps": 3, "batch": 8},
    "reward": {"epochs": 2, "backbone": {"input_size": 64, "taps": [0, 1]}},
    "align": {
        "watch": {"every": 1, "prompts": 4},
        "iterations": 2,
        "prompts": 2,
        "candidates": 2,
        "steps": 3,
        "trained_steps": 2,
    },
    "reconstruct": {"longest_side": 40, "frames": 5, "resamples": 100},
    "evaluate": {"best_of": [1, 2], "resamples": 100, "gallery": 1},
}


@dataclass(frozen=True)
class Project:
    """A copy of the project's configuration with data of its own.

    Attributes:
        path: its root.
    """

    path: Path

    def run(
        self, *arguments: str, limit_file_size: int | None = None, fresh: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """`kedro …` in the project.

        Args:
            arguments: of kedro.
            limit_file_size: bytes after which writing a file fails, as on a full disk.
            fresh: start an interpreter, which hashes texts in an order of its own, as users' commands do.
        """
        if limit_file_size is None and not fresh:
            return kedro(arguments, self.path, self.environment)
        call = [sys.executable, "-m", "kedro", *arguments]
        if limit_file_size is not None:
            call = ["prlimit", f"--fsize={limit_file_size}", *call]
        return subprocess.run(call, cwd=self.path, env=self.environment, capture_output=True, text=True, check=False)

    def finish(self, *pipelines: str) -> "Project":
        """Itself, after a run of these pipelines, which must succeed."""
        done = self.run("run", f"--pipelines={','.join(pipelines)}")
        assert done.returncode == 0, done.stderr
        return self

    def copy(self, path: Path) -> "Project":
        """A copy to change or break."""
        return Project(Path(shutil.copytree(self.path, path)))

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that run in the project."""
        return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.path / "src")}

    def set(self, **parameters: dict[str, Any]) -> None:
        """Change parameters, by top-level key."""
        file = self.path / "conf/local/parameters.yml"
        current = yaml.safe_load(file.read_text())
        for key, values in parameters.items():
            current[key] = {**current.get(key, {}), **values}
        file.write_text(yaml.safe_dump(current))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Packed contents hold the time of packing; two workers must give a test the same name."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a randomly initialised inpainting checkpoint for 32 px images."""
    from prefpaint.datasets import DiffusersPipelineDataset
    from prefpaint.small_model.build import build_small_pipeline
    from tests.tiny import SIZE, TINY_MODEL

    folder = tmp_path_factory.mktemp("tiny") / "base"
    DiffusersPipelineDataset(str(folder), dtype="float16").save(build_small_pipeline(TINY_MODEL, SIZE, 0))
    return folder


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Project:
    """A miniature project in which nothing has run yet."""
    return make_project(tmp_path / "project", tiny_base)


def make_project(path: Path, base: Path) -> Project:
    """Copy configuration and code, and put a base checkpoint in place."""
    shutil.copytree(REPOSITORY / "conf", path / "conf", ignore=shutil.ignore_patterns("local"))
    for file in ("pyproject.toml", "params.yaml", ".telemetry"):
        shutil.copy(REPOSITORY / file, path)
    shutil.copytree(
        REPOSITORY / "src", path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
    )
    (path / "conf/local").mkdir()
    (path / "conf/local/parameters.yml").write_text(yaml.safe_dump(MINIATURE))
    shutil.copytree(base, path / "data/06_models/base")
    # Imported late: torch reads the number of threads above.
    from tests.tiny import tiny_judge

    tiny_judge().save_pretrained(path / "data/06_models/judge")
    return Project(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole projects come first, the longest before the others: one of them last would run alone."""
    first = ("test_distributed", "test_default_pipeline", "test_people", "test_kills", "test_modes", "test_own_folder")
    order = {name: place for place, name in enumerate(first)}
    items.sort(key=lambda item: order.get(item.path.stem, len(first)))
