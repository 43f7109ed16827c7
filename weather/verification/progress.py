"""Progress of what takes long in a verification: a bar on a terminal, elsewhere a line a minute, with the time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from weather.runtime.logs import duration
from weather.runtime.ranks import Ranks

SECONDS_BETWEEN_LINES = 60.0


@contextlib.contextmanager
def verification_bar(ranks: Ranks, what: str = "initial times") -> Iterator[Callable[[int, int], None]]:
    """What to tell how much of how much is done; the first rank shows its share, which is as large as any other."""
    if not ranks.first:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what) as show:
            yield show
    else:
        yield _Lines(what)


@contextlib.contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line a minute, for logs of batch jobs."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.began = self.told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES and 0 < done < total:
            self.told = now
            left = (now - self.began) / done * (total - done)
            print(f"{self.what}: {done} of {total}, about {duration(left)} left", file=sys.stderr, flush=True)
