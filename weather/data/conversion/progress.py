"""How far a conversion is, with its rate and the time that is left: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

LINE_EVERY = 20.0  # seconds

Advance = Callable[[int], None]


@contextlib.contextmanager
def progress(title: str, total: int, *, bytes_: bool) -> Iterator[Advance]:
    """What to call with an amount that is done.

    Args:
        total: amount to do.
        bytes_: the amount is in bytes, else it counts things.
    """
    if not sys.stderr.isatty():
        lines = _Lines(title, total, bytes_)
        yield lines.advance
        return
    from rich import progress as bars
    from rich.console import Console

    amount = (bars.DownloadColumn(), bars.TransferSpeedColumn()) if bytes_ else (bars.MofNCompleteColumn(),)
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *amount, bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done: bar.update(task, advance=done)


class _Lines:
    def __init__(self, title: str, total: int, bytes_: bool) -> None:
        self.title, self.total, self.bytes_ = title, total, bytes_
        self.done, self.began, self.latest = 0, time.monotonic(), time.monotonic()

    def advance(self, done: int) -> None:
        self.done += done
        now = time.monotonic()
        if now - self.latest < LINE_EVERY or not self.done:
            return
        self.latest = now
        left = (self.total - self.done) * (now - self.began) / self.done
        amount = (
            f"{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB" if self.bytes_ else f"{self.done} of {self.total}"
        )
        print(f"{self.title}: {amount}, about {left:.0f} s left", file=sys.stderr, flush=True)
