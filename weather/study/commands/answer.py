"""What a command has found: lines for people, the same as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from weather.config.shared_options import PRINTED
from weather.errors import DataError


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
    from weather.presentation import writing

    if destination is None:
        return
    if destination == PRINTED:
        print(writing.json_text(record))
        return
    try:
        writing.write_json(Path(destination), record)
    except OSError as error:
        raise DataError(f"cannot be written ({error})", where=destination) from error
