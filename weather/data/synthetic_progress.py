"""A bar for the making of synthetic weather, with the time that is left."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from weather.data.synthetic import Progress


@contextlib.contextmanager
def simulation_bar() -> Iterator[Progress | None]:
    """What to hand to `create_test_data`: shows a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (*rich_progress.Progress.get_default_columns(), rich_progress.TextColumn("{task.completed:.0f} days"))
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulating weather", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
