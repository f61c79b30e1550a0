"""Progress of long work: a live bar on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from prefpaint import distributed

SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Counts steps of one piece of work and shows how long the rest takes.

    Args:
        title: what is being done.
        total: steps of the whole work.
        done: steps already done by an earlier run.
    """

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done, self.resumed = title, total, done, done
        self.live = sys.stderr.isatty() and distributed.is_main()
        self.started = self.last_line = time.monotonic()
        self.bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[values]}"),
            console=Console(stderr=True),
            disable=not self.live,
        )
        self.task = self.bar.add_task(title, total=total, completed=done, values="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()
        if self._prints() and self.done > self.resumed:
            self._line("")

    def step(self, count: int = 1, **values: float) -> None:
        """Add finished steps and show the latest values beside the bar."""
        self.done += count
        shown = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.bar.update(self.task, advance=count, values=shown)
        if self._prints() and time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self._line(shown)

    def _prints(self) -> bool:
        """Whether lines take the bar's place; of several processes one reports, on its share."""
        return not self.live and distributed.is_main()

    def _line(self, shown: str) -> None:
        self.last_line = time.monotonic()
        spent = self.last_line - self.started
        left = spent / max(self.done - self.resumed, 1) * (self.total - self.done)
        print(
            f"{self.title}: {self.done}/{self.total}, {spent:.0f} s, about {left:.0f} s left {shown}".rstrip(),
            file=sys.stderr,
            flush=True,
        )
