"""Bars for what takes long in a verification, with the time that is left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from weather.runtime.ranks import Ranks


@contextlib.contextmanager
def verification_bar(ranks: Ranks, what: str = "initial times") -> Iterator[Callable[[int, int], None]]:
    """What to tell how much of how much is done: the first rank shows it as a bar on a terminal, others nowhere."""
    if not ranks.first or not sys.stderr.isatty():
        yield lambda done, total: None
        return
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
