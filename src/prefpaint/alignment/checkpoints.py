"""The folder of one alignment run: what it is a run of, its last checkpoints, and its best weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.files import load_state, save_state, whole_file


class Checkpoints:
    """Checkpoints of a run, written by the main process and read by all.

    Args:
        folder: of the run; created if it does not exist. What another, finished run left in it is removed.
        identity: what the weights depend on, as nested JSON; a run resumes only from a state with the same identity.
        keep_last: how many checkpoints are kept.

    Raises:
        PrefPaintError: the folder holds an unfinished run of another identity, or its description is damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], keep_last: int) -> None:
        self.folder, self.identity, self.keep_last = folder, json.loads(json.dumps(identity)), keep_last
        self.description, self.best = folder / "run.json", folder / "best.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        there = self._described()
        distributed.barrier()
        if there is not None and there["identity"] != self.identity and not there["finished"]:
            raise PrefPaintError(
                f"{folder}: holds an unfinished run of another configuration "
                f"({_difference(there['identity'], self.identity)}); set it back "
                "to resume that run, or remove the folder to start afresh"
            )
        if distributed.is_main():
            for half in folder.glob(".*.tmp"):
                half.unlink()
            if there is None or there["identity"] != self.identity:
                self._clear()
            self._describe(finished=False)
        distributed.barrier()

    def _described(self) -> dict[str, Any] | None:
        """What the folder holds a run of, or None where there is none yet."""
        if not self.description.exists():
            return None
        try:
            there = json.loads(self.description.read_text())
            return {"identity": dict(there["identity"]), "finished": bool(there["finished"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PrefPaintError(
                f"{self.description}: is damaged ({error}), so it is unknown what {self.folder} holds a run of; remove "
                "the folder to start afresh"
            ) from error

    def _states(self) -> list[Path]:
        return sorted(self.folder.glob("iteration_*.pt"))

    def _clear(self) -> None:
        for file in (*self._states(), self.best):
            file.unlink(missing_ok=True)

    def _describe(self, finished: bool) -> None:
        with whole_file(self.description) as temporary:
            temporary.write_text(json.dumps({"finished": finished, "identity": self.identity}, indent=2) + "\n")

    def latest(self) -> dict[str, Any] | None:
        """The newest state, or None at the beginning.

        Raises:
            PrefPaintError: it is damaged.
        """
        states = self._states()
        return load_state(states[-1]) if states else None

    def restart(self) -> None:
        """Remove every state and the best weights."""
        distributed.barrier()  # By now every process has read them.
        if distributed.is_main():
            self._clear()
        distributed.barrier()

    def save(self, iteration: int, state: Mapping[str, Any]) -> None:
        """Keep a state; the main process writes it, whole or not at all, and then removes the oldest.

        Args:
            iteration: iterations done.
            state: tensors, numbers, strings and containers of them.
        """
        if not distributed.is_main():
            return
        save_state(dict(state), self.folder / f"iteration_{iteration:06d}.pt")
        for old in self._states()[: -self.keep_last]:
            old.unlink()

    def save_best(self, weights: dict[str, Tensor]) -> None:
        """Keep weights as the best so far."""
        if distributed.is_main():
            with whole_file(self.best) as temporary:
                save_file({name: value.contiguous() for name, value in weights.items()}, temporary)

    def load_best(self) -> dict[str, Tensor]:
        """The best weights so far, on the CPU.

        Raises:
            PrefPaintError: their file is missing or damaged.
        """
        try:
            return load_file(self.best)
        except (OSError, SafetensorError) as error:
            raise PrefPaintError(
                f"{self.best}: cannot be read ({error}); remove {self.folder} to start afresh"
            ) from error

    def finish(self) -> None:
        """Mark the run as done; returns when all processes are here."""
        if distributed.is_main():
            self._describe(finished=True)
        distributed.barrier()


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The first values that differ, as a phrase."""
    old, new = _flat(there), _flat(here)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    phrases = [f"{key} was {_short(old.get(key))} and is now {_short(new.get(key))}" for key in keys[:3]]
    return "; ".join(phrases) + ("" if len(keys) <= 3 else f"; and {len(keys) - 3} more")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _short(value: Any) -> str:
    """A value in a sentence; digests are cut."""
    text = json.dumps(value)
    return text if len(text) <= 24 else text[:12] + "…"
