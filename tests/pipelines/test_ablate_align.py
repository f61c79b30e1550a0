"""`kedro run --pipeline=ablate_align` on a miniature project."""

import pandas as pd
import pytest

from tests.conftest import Project

SMALL = {"iterations": 2, "candidates": 2, "steps": 3, "trained_steps": 1, "watch": {"every": 1, "prompts": 4}}
VARIANTS = {
    "ddpo": {**SMALL, "mode": "ddpo"},
    "published": {**SMALL, "mode": "published", "candidates": 1},
    "dpo": {**SMALL, "mode": "dpo"},
    # The project's own that take too long here.
    **dict.fromkeys(["ddpo, faster", "nft", "awm", "refl"]),
}


@pytest.fixture
def finished(project: Project) -> Project:
    """Everything that comes before; the referee is part of `align`."""
    assert project.run("run", "--pipelines=masks,candidates,preferences,reward,bound,align").returncode == 0
    project.set(
        ablate_align={
            "seeds": [0, 1],
            "shared": {**SMALL, "prompts": 2},
            "variants": VARIANTS,
            "prompts": 4,
            "resamples": 100,
        }
    )
    return project


def test_every_variant_from_every_seed_and_only_once(finished: Project) -> None:
    done = finished.run("run", "--pipeline=ablate_align")
    assert done.returncode == 0, done.stderr
    folder = finished.path / "data/08_reporting"
    table = pd.read_parquet(folder / "ablate_align.parquet")
    assert table["variant"].tolist() == ["ddpo", "dpo", "published"]
    assert (table["seeds"] == 2).all() and table["seen_win_rate"].between(0, 1).all()
    assert (table["seen_win_rate_low"] <= table["seen_win_rate"]).all()
    curves = pd.read_parquet(folder / "ablate_align_curves.parquet")
    # Four samples of three steps, one of them trained; the published batch has two; a pair costs four passes.
    last = curves[curves["iteration"] == 2].groupby("variant")["network_evaluations"].first()
    assert last[["ddpo", "published"]].tolist() == [2 * 4 * 4, 2 * 2 * 4]
    assert "| ddpo |" in (folder / "ablate_align.md").read_text()
    assert (folder / "ablate_align.png").stat().st_size > 10_000

    kept = {file: file.stat().st_mtime_ns for file in finished.path.rglob("workspace/ablate_align/*/run.json")}
    assert len(kept) == 2 * len(table)
    again = finished.run("run", "--pipeline=ablate_align")
    assert again.returncode == 0 and {file: file.stat().st_mtime_ns for file in kept} == kept
    assert pd.read_parquet(folder / "ablate_align.parquet").equals(table)
