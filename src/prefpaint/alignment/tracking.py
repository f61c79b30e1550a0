"""Figures of a run in the experiment trackers that people already use, through accelerate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefpaint import distributed
from prefpaint.errors import PrefPaintError


class Tracking:
    """Trackers of the main process.

    Args:
        names: accelerate's, such as `tensorboard`, `mlflow` or `wandb`; some use a network, tensorboard does not.
        folder: for trackers that write files.
        configuration: of the run, written down at its beginning.
        done: iterations that an earlier process has logged.

    Raises:
        PrefPaintError: a tracker is unknown or not installed.
    """

    def __init__(self, names: Sequence[str], folder: Path, configuration: Mapping[str, Any], done: int = 0) -> None:
        self.accelerator: Any = None
        if not names or not distributed.is_main():
            return
        from accelerate import Accelerator
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

        available = sorted(str(name) for name in get_available_trackers())
        for name in names:
            if name not in available:
                known = "is not a tracker that accelerate knows"
                if name in LOGGER_TYPE_TO_CLASS:
                    known = "is not installed; tensorboard comes with `pip install 'prefpaint[tracking]'`"
                raise PrefPaintError(f"align.trackers: {name} {known}; available here are {', '.join(available)}")
        folder.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(
            cpu=distributed.device().type == "cpu", log_with=list(names), project_dir=str(folder)
        )
        # A killed run repeats the iterations since its last checkpoint: what was logged of them is dropped.
        options = {"tensorboard": {"purge_step": done + 1}} if done else {}
        self.accelerator.init_trackers("align", None if done else _flat(configuration), options)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Figures of an iteration, counted from 1."""
        if self.accelerator is not None:
            self.accelerator.log(dict(figures), step=step)

    def close(self) -> None:
        """Write what is still buffered."""
        if self.accelerator is not None:
            # Not `end_training`: it would end the process group too.
            for tracker in self.accelerator.trackers:
                tracker.finish()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested configuration as trackers take it: plain values under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
