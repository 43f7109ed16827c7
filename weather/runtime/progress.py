"""How far a long task is, and the time that is left: a bar on a terminal, elsewhere a line now and then; on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

SECONDS_BETWEEN_LINES = 30.0

#: Takes how much is done, and how much there is to do.
Show = Callable[[float, float], None]


def duration(seconds: float) -> str:
    """Hours:minutes:seconds."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"


@contextlib.contextmanager
def progress_bar(what: str, *, unit: str = "", shows: bool = True) -> Iterator[Show]:
    """What to tell how much is done of how much there is to do.

    Args:
        what: is being done.
        unit: of both amounts; those in ``bytes`` are shown in GB.
        shows: False where another rank speaks.
    """
    if not shows:
        yield lambda done, total: None
    elif sys.stderr.isatty():
        with _bar(what, unit) as show:
            yield show
    else:
        yield _Lines(what, unit)


@contextlib.contextmanager
def counting_bar(what: str, total: float, *, unit: str = "", shows: bool = True) -> Iterator[Callable[[float], None]]:
    """The same where amounts are done one after the other: what to call with each."""
    with progress_bar(what, unit=unit, shows=shows) as show:
        done = 0.0
        show(done, total)

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            show(done, total)

        yield advance


@contextlib.contextmanager
def _bar(what: str, unit: str) -> Iterator[Show]:
    from rich import progress as bars
    from rich.console import Console

    if unit == "bytes":
        amount: tuple[bars.ProgressColumn, ...] = (bars.DownloadColumn(), bars.TransferSpeedColumn())
    else:
        amount = (bars.MofNCompleteColumn(), bars.TextColumn(unit))
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *amount, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """For logs of batch jobs."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.began = self.said = time.monotonic()
        self.first: float | None = None  # what an earlier run had done says nothing of this one's speed

    def __call__(self, done: float, total: float) -> None:
        if self.first is None:
            self.first = done
        now = time.monotonic()
        if now - self.said < SECONDS_BETWEEN_LINES or not self.first < done < total:
            return
        self.said = now
        left = (now - self.began) * (total - done) / (done - self.first)
        if self.unit == "bytes":
            amount = f"{done / 1e9:.2f} of {total / 1e9:.2f} GB"
        else:
            amount = f"{done:.0f} of {total:.0f} {self.unit}".rstrip()
        print(f"{self.what}: {amount}, about {duration(left)} left", file=sys.stderr, flush=True)
