"""`kedro run --pipeline=overoptimise` on a miniature project."""

import pandas as pd
import pytest

from tests.conftest import Project

SMALL = {"iterations": 2, "prompts": 2, "candidates": 2, "steps": 3, "trained_steps": 1}


@pytest.fixture
def finished(project: Project) -> Project:
    """Everything that comes before; the referee is part of `align`."""
    assert project.run("run", "--pipelines=masks,candidates,preferences,reward,bound,align").returncode == 0
    project.set(
        overoptimise={
            "seeds": [0, 1],
            "prompts": 4,
            "reward": {"head": {"kind": "mlp"}, "backbone": {"kind": "contrast", "input_size": 64}, "epochs": 2},
            "shared": {**SMALL, "watch": {"every": 1, "prompts": 4}},
            "variants": {"weight": None, "pull": None},
        }
    )
    return project


def test_every_variant_from_every_seed_and_only_once(finished: Project) -> None:
    done = finished.run("run", "--pipeline=overoptimise")
    assert done.returncode == 0, done.stderr
    folder = finished.path / "data/08_reporting"
    table = pd.read_parquet(folder / "overoptimise.parquet")
    assert table["variant"].tolist() == ["none", "gate", "pessimistic"] and (table["seeds"] == 2).all()
    curves = pd.read_parquet(folder / "overoptimise_curves.parquet")
    assert len(curves) == 3 * 2 * 2 and curves[["proxy_gain", "gold_gain"]].notna().all(axis=None)
    assert "| pessimistic |" in (folder / "overoptimise.md").read_text()
    assert (folder / "overoptimise.png").stat().st_size > 10_000

    kept = {file: file.stat().st_mtime_ns for file in finished.path.rglob("workspace/overoptimise/*/run.json")}
    assert len(kept) == 2 * len(table)
    again = finished.run("run", "--pipeline=overoptimise")
    assert again.returncode == 0 and {file: file.stat().st_mtime_ns for file in kept} == kept
    assert pd.read_parquet(folder / "overoptimise.parquet").equals(table)
