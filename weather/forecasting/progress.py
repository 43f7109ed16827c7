"""How far a long task is and how long it will still take: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Callable, Iterator

SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def progress(what: str, total: int, *, show: bool) -> Iterator[Callable[[], None]]:
    """What to call after each of `total` parts."""
    if not show:
        yield lambda: None
    elif sys.stderr.isatty():
        from rich import progress as rich_progress
        from rich.console import Console

        columns = (
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TimeRemainingColumn(),
        )
        with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
    else:
        yield _Lines(what, total).advance


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.began = self.said = time.monotonic()

    def advance(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.said >= SECONDS_BETWEEN_LINES:
            self.said = now
            left = datetime.timedelta(seconds=round((now - self.began) / self.done * (self.total - self.done)))
            print(f"{self.what}: {self.done} of {self.total}, {left} left", file=sys.stderr, flush=True)
