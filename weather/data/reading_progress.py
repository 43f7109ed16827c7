"""How far a long reading of states is, with the time that is left: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

SAYS_EVERY = 10.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def reading_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """What to call with the states done and the states to do; both go to stderr."""
    if not sys.stderr.isatty():
        yield _lines(what)
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.MofNCompleteColumn())
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Callable[[int, int], None]:
    began = said = time.monotonic()
    first: int | None = None

    def show(done: int, total: int) -> None:
        nonlocal said, first
        first = done if first is None else first  # what an earlier run had done says nothing of this one's speed
        now = time.monotonic()
        if now - said > SAYS_EVERY and done > first:
            said = now
            left = timedelta(seconds=round((now - began) * (total - done) / (done - first)))
            print(f"{what}: {done} of {total} states, {left} left", file=sys.stderr, flush=True)

    return show
