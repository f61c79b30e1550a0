"""Stages run apart, are measured, and are not repeated."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from prefpaint.errors import PrefPaintError
from prefpaint.parameters import check_parameters, known_models
from prefpaint.pipeline_registry import register_pipelines
from prefpaint.rehearsal.project import ENVIRONMENT, LAYERS, merged, write_project
from prefpaint.rehearsal.run import Stage, check_figures, run_stages, stages
from tests.conftest import REPOSITORY
from tests.tiny import tiny_judge

# A command that notes its arguments, paints two pictures, holds 200 MB for a moment, and fails where it is told to.
COMMAND = """
import sys, time
from pathlib import Path
import torch
class UNet2DConditionModel(torch.nn.Module):
    def forward(self, latents):
        return self
UNet2DConditionModel.sample = torch.zeros(2, 1)
with open("calls.txt", "a") as calls:
    print(*sys.argv[1:], file=calls)
UNet2DConditionModel()(torch.zeros(1))
held = torch.ones(50_000_000)
time.sleep(0.5)
Path("data").mkdir(exist_ok=True)
Path("data", sys.argv[3].split("=")[1]).write_bytes(bytes(1000))
sys.exit(3 if Path("fail").exists() and "second" in sys.argv[3] else 0)
"""


def test_a_failed_stage_is_named_and_the_next_call_begins_with_it(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text(COMMAND)
    (tmp_path / "fail").touch()
    listed = [Stage("first", "first"), Stage("again", "second", {"align.tune": "lora"})]
    with pytest.raises(PrefPaintError, match=r"stage again ended with status 3.*align\.tune=lora.*repeats it alone"):
        run_stages(tmp_path, listed, "command", "stamp")
    (tmp_path / "fail").unlink()
    found = run_stages(tmp_path, listed, "command", "stamp")
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert calls == [
        "run --env=rehearsal --pipeline=first",
        *["run --env=rehearsal --pipeline=second --params=align.tune=lora"] * 2,
    ]
    for name in ("first", "again"):
        assert found[name]["evaluations"] == 2
        # The tensor alone is 200 MB; mapped libraries are not the process's own.
        assert 2e8 < found[name]["own_peak_bytes"] < found[name]["peak_bytes"]
        assert found[name]["seconds"] > 0.5 and found[name]["cpu_seconds"] > 0
    assert found["first"]["disk_bytes"] == 1000
    # Finished stages are read, until what they depend on changes.
    assert run_stages(tmp_path, listed, "command", "stamp") == found
    run_stages(tmp_path, listed[:1], "command", "another stamp")
    assert len((tmp_path / "calls.txt").read_text().splitlines()) == 4


def test_a_stage_that_painted_nothing_is_a_mistake() -> None:
    """Extending skips prompts that show no whole picture, with a warning."""
    with pytest.raises(PrefPaintError, match="stage extend painted nothing"):
        check_figures(Stage("extend", "extend", paints=True), {"evaluations": 0})
    check_figures(Stage("masks", "masks"), {"evaluations": 0})
    assert {stage.name for stage in stages(full=True) if not stage.paints} == {
        *("masks", "preferences", "reward", "bound", "release")
    }


def test_both_ways_of_aligning_are_rehearsed() -> None:
    names = [stage.name for stage in stages(full=False)]
    before, after = ["masks", "candidates", "preferences", "reward", "bound"], ["extend", "novel_view", "evaluate"]
    assert names == [*before, "align_nft", "align_published", *after, "release"]
    # Nothing is made from its model, so it may be left out.
    assert [stage.name for stage in stages(full=True)] == [*names, "align_full"]


def test_the_project_has_the_papers_parameters_with_fewer_counts(tmp_path: Path) -> None:
    paper = write_project(tmp_path, REPOSITORY / "conf", tiny_judge())
    given: dict[str, Any] = yaml.safe_load((tmp_path / f"conf/{ENVIRONMENT}/parameters.yml").read_text())
    assert paper["sampling"]["steps"] == 50 and given["sampling"]["steps"] == 2
    # What the rehearsal does not change is the paper's.
    assert given["photographs"]["size"] == 512 and given["reward"]["head"] == paper["reward"]["head"]
    assert given["align"]["mode"] == "published"
    catalog = yaml.safe_load((tmp_path / f"conf/{ENVIRONMENT}/catalog.yml").read_text())
    check_parameters(merged(tmp_path / "conf", "parameters", ("base", ENVIRONMENT)), known_models(register_pipelines()))
    # A dataset is replaced whole, as Kedro does: a folder beside the hub id would be two places.
    assert "hub_id" not in catalog["base_model"] and catalog["base_model"]["filepath"] == "models/base"
    assert len(list((tmp_path / "data/01_raw/photographs").glob("*.png"))) == 16
    assert (tmp_path / "data/06_models/judge/model.safetensors").exists()


def test_the_rehearsal_changes_counts_memory_and_checkpoints_alone() -> None:
    conf = REPOSITORY / "conf"
    paper, rehearsed = (merged(conf, "parameters", ("base", *LAYERS[:count])) for count in (1, 2))

    def differences(old: Any, new: Any, place: str = "") -> set[str]:
        if isinstance(old, dict) and isinstance(new, dict):
            return {
                found for key in {*old, *new} for found in differences(old.get(key), new.get(key), f"{place}.{key}")
            }
        return set() if old == new else {place.removeprefix(".")}

    changed = differences(json.loads(json.dumps(paper)), json.loads(json.dumps(rehearsed)))
    numbers = {
        "steps",
        "batch",
        "epochs",
        "iterations",
        "trained_steps",
        "rollout_batch",
        "micro_batch",
        "every",
        "watch",
    }
    numbers |= {"prompts", "resamples", "gallery", "images", "crops", "best_of", "views", "aspect", "refinements"}
    numbers |= {"train", "validation", "test", "seen", "unseen", "gradient_checkpointing"}
    places = {"folder", "checkpoint", "depth_checkpoint", "clip", "blip", "aesthetic", "classifier", "imagereward"}
    assert {name.rsplit(".", 1)[-1] for name in changed} <= numbers | places
