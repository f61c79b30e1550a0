"""Files that appear whole or not at all, and training states made of them."""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from prefpaint.errors import PrefPaintError

logger = logging.getLogger(__name__)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends without an error.

    Raises:
        PrefPaintError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise _not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder: what the block puts into the temporary one replaces `path` as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    old = temporary.with_name(temporary.name + ".old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            os.replace(path, old)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise _not_written(path, error) from error
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)


def files_digest(files: Sequence[Path]) -> str:
    """SHA-256, hexadecimal, of the names and contents of files in the order given."""
    return sha256(" ".join(f"{file.name} {_digest(file)}" for file in files).encode()).hexdigest()


def kept_json(path: Path, *needed: str) -> dict[str, Any]:
    """What earlier work left in a JSON file, to be taken up again; empty where there is none.

    A file that is damaged or holds something else counts as none, with a warning: the work is then done again.

    Args:
        path: the file.
        needed: keys that it must have.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        kept = None
    if isinstance(kept, dict) and all(key in kept for key in needed):
        return kept
    logger.warning("%s: is damaged or cut short, and what it held is made again", path)
    return {}


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _not_written(path: Path, error: Exception) -> PrefPaintError:
    """safetensors reports a full disk as an error of its own kind."""
    reason = getattr(error, "strerror", None) or str(error)
    return PrefPaintError(f"{path}: cannot be written ({reason}); nothing was changed")


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers, strings and containers of them, whole or not at all."""
    import torch

    with whole_file(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:
            # torch's zip writer stumbles over its own error after the operating system's.
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def load_state(path: Path) -> dict[str, Any] | None:
    """What `save_state` wrote, or None if nothing was written yet. Never runs code from the file.

    Raises:
        PrefPaintError: the file is not such a state.
    """
    import pickle

    import torch

    if not path.exists():
        return None
    try:
        # To the CPU: written by one process's GPU, read by every process. Mapped: all of them share its memory.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise PrefPaintError(f"{path}: is not a training state of this program; remove it to start afresh") from error
    return dict(state)
