"""One run at a time in a project."""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from prefpaint.errors import PrefPaintError

log = logging.getLogger(__name__)

# In the project's root; git does not see it there.
LOCK = Path("data/.run.lock")


class RunLock:
    """Held by the process that runs a pipeline, and by no other.

    A record lock of the operating system: it ends with its process, however that ends, and processes that were forked
    from the holder do not have it.

    Args:
        path: of the file that says who holds it; the file stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def take(self, what: str) -> None:
        """Take it; this process may have it already.

        Args:
            what: the command, for those who are refused.

        Raises:
            PrefPaintError: another process has it.
        """
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 - open for as long as the lock is held
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError) as error:
                with file:
                    raise PrefPaintError(_refusal(file)) from error
            except OSError as error:
                log.warning("%s: cannot be locked (%s); do not start a second run here", self.path, error.strerror)
            self._file = file
        self._file.truncate(0)
        holder = {"pid": os.getpid(), "what": what, "since": datetime.now().strftime("%Y-%m-%d %H:%M:%S")}
        self._file.write(json.dumps(holder))
        self._file.flush()

    def give_back(self) -> None:
        """Let the next one have it."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None

    @contextmanager
    def unless_it_fails(self, what: str) -> Iterator[None]:
        """Take it, and keep it if the block ends without an error."""
        self.take(what)
        try:
            yield
        except BaseException:
            self.give_back()
            raise


def _refusal(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder: dict[str, Any] = json.loads(file.read())
        who = f"`{holder['what']}` (process {holder['pid']}, since {holder['since']})"
    except (ValueError, KeyError):
        who = "another run"  # It has the lock, and has not written its name yet.
    return f"{who} is at work in this project; wait until it is done, or end it"
