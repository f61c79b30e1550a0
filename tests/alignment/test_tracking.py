"""Figures in TensorBoard's own files, read back with TensorBoard."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from prefpaint.alignment.tracking import Tracking
from prefpaint.errors import PrefPaintError


def scalars(folder: Path) -> dict[int, float]:
    files = EventAccumulator(str(folder / "align"))
    files.Reload()
    return {event.step: event.value for event in files.Scalars("reward")}


def test_a_resumed_run_counts_every_iteration_once(tmp_path: Path) -> None:
    first = Tracking(("tensorboard",), tmp_path, {"lr": 1e-3, "gamma": {"kind": "static", "average": None}})
    for step in (1, 2, 3):
        first.log({"reward": float(step)}, step)
    first.close()
    # Killed after its checkpoint of iteration 2: iteration 3 is done again.
    second = Tracking(("tensorboard",), tmp_path, {}, done=2)
    for step in (3, 4):
        second.log({"reward": 10.0 * step}, step)
    second.close()
    assert scalars(tmp_path) == {1: 1, 2: 2, 3: 30, 4: 40}


def test_without_trackers_nothing_is_written(tmp_path: Path) -> None:
    silent = Tracking((), tmp_path / "logs", {})
    silent.log({"reward": 1.0}, 1)
    silent.close()
    assert not (tmp_path / "logs").exists()


def test_unknown_and_missing_trackers_are_named(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"align\.trackers: tensorbored is not a tracker .* tensorboard"):
        Tracking(("tensorbored",), tmp_path, {})
    with pytest.raises(PrefPaintError, match=r"align\.trackers: aim is not installed"):
        Tracking(("aim",), tmp_path, {})
