"""What a command has found: lines for people, the same as JSON for programs, and a bar while they wait."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from weather.errors import DataError

PRINTED = "-"


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json, for `tell` and `write_json`."""
    parser.add_argument(
        "--json",
        nargs="?",
        const=PRINTED,
        metavar="FILE",
        help="for programs: printed instead of the text, or written to FILE beside it",
    )


def tell(lines: Iterable[str], record: Any, destination: str | None) -> None:
    """Print lines, unless JSON is to be printed in their place; write JSON where that is wanted."""
    if destination != PRINTED:
        for line in lines:
            print(line)
    write_json(record, destination)


def write_json(record: Any, destination: str | Path | None) -> None:
    """Print a record as JSON, or write it to a file; neither where `destination` is None.

    Raises:
        DataError: the file cannot be written.
    """
    from weather.presentation.writing import plain, write_whole

    if destination is None:
        return
    text = json.dumps(plain(record), indent=1, allow_nan=False)
    if destination == PRINTED:
        print(text)
        return
    try:
        write_whole(Path(destination), text + "\n")
    except OSError as error:
        raise DataError(f"cannot be written ({error})", where=destination) from error


@contextlib.contextmanager
def waiting(what: str) -> Iterator[Callable[[float, float], None]]:
    """A bar with the time left, on a terminal; what it gives is told how many of how many are done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, of: progress.update(bar, completed=done, total=of)
