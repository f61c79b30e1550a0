"""The whole default pipeline at a miniature size, twice."""

import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY, Project, make_project
from tests.tiny import SIZE


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> list[Project]:
    """Two projects in which everything has run."""
    projects = [make_project(tmp_path_factory.mktemp("default") / "project", tiny_base) for _ in range(2)]
    for project in projects:
        done = project.run("run", fresh=project is projects[0])
        assert done.returncode == 0, done.stderr
    return projects


def test_the_same_seed_gives_the_same_bytes(finished: list[Project]) -> None:
    kinds = ("data/06_models/reward/*", "data/06_models/aligned/**/*", "data/08_reporting/*", "data/0[3457]*/*.parquet")

    def digests(project: Project) -> dict[str, str]:
        files = [path for kind in kinds for path in project.path.glob(kind) if path.is_file()]
        return {path.relative_to(project.path).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}

    first, second = (digests(project) for project in finished)
    assert any(name.endswith("safetensors") for name in first) and "data/08_reporting/evaluate_metrics.json" in first
    assert first == second


def test_stock_diffusers_loads_the_aligned_model(finished: list[Project]) -> None:
    import torch
    from diffusers import AutoPipelineForInpainting
    from PIL import Image

    pipe = AutoPipelineForInpainting.from_pretrained(finished[0].path / "data/06_models/aligned")
    pipe.set_progress_bar_config(disable=True)
    image = Image.fromarray(np.full((SIZE, SIZE, 3), 90, np.uint8))
    mask = Image.fromarray(np.triu(np.full((SIZE, SIZE), 255, np.uint8)))
    painted = [
        np.asarray(
            pipe(
                prompt="",
                image=image,
                mask_image=mask,
                height=SIZE,
                width=SIZE,
                num_inference_steps=2,
                guidance_scale=1.0,
                generator=torch.Generator().manual_seed(0),
            ).images[0]
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*painted)


def test_the_page_needs_no_other_file(finished: list[Project]) -> None:
    page = (finished[0].path / "data/08_reporting/report.html").read_text()
    assert "data:image/png;base64," in page and 'src="http' not in page and "<link" not in page


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "notebooks").glob("*.ipynb")))
def test_every_notebook_runs_on_a_finished_project(finished: list[Project], name: str) -> None:
    import nbformat
    from nbclient import NotebookClient

    folder = finished[0].path / "notebooks"
    folder.mkdir(exist_ok=True)
    shutil.copy(REPOSITORY / "notebooks" / name, folder)
    notebook = nbformat.read(folder / name, as_version=4)
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells), "kept stripped"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": folder}}).execute()
    assert any(cell.get("outputs") for cell in notebook.cells)


def test_the_projects_own_seed_repeated_gives_its_own_figures(finished: list[Project]) -> None:
    import pandas as pd

    project = finished[1]
    project.set(seeds={"seeds": [0], "oracle": True})
    done = project.run("run", "--pipeline=seeds")
    assert done.returncode == 0, done.stderr
    folder = project.path / "data/08_reporting"
    table = pd.read_parquet(folder / "seeds.parquet")
    assert table["run"].tolist() == ["seed 0", "seed 0", "oracle"]
    first, again, oracle = (row.dropna().to_dict() for _, row in table.iterrows())
    assert again == {name: first[name] for name in again}
    assert any(oracle[name] != again[name] for name in again if name != "run")
    assert "| oracle | unseen |" in (folder / "seeds.md").read_text()
