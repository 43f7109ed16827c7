"""What a subcommand answers: a table for people, the same numbers for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.config.shared_options import PRINTED
from weather.presentation import writing


@dataclass(frozen=True)
class Answer:
    """A table and what must be known to read it.

    Attributes:
        columns: headings.
        rows: cells of each row.
        notes: lines below.
        record: the numbers, for programs.
        command: a line to copy; "" where there is none.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    record: dict[str, Any]
    command: str = ""


def show(answer: Answer, destination: str | None) -> None:
    """Print the answer, or its JSON where `destination` is `PRINTED`; write it as JSON too where that is a file."""
    if destination is not None:
        record = {**answer.record, "notes": answer.notes}
        if destination == PRINTED:
            print(writing.json_text(record))
            return
        writing.write_json(Path(destination), record)
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console()
    folded = console.is_terminal
    table = Table(box=SIMPLE if folded else None, pad_edge=False)
    for index, column in enumerate(answer.columns):
        table.add_column(column, justify="right" if index or len(answer.columns) > 2 else "left", no_wrap=not folded)
    for row in answer.rows:
        table.add_row(*row)
    if not folded:
        console = Console(width=200)  # into a file or a pipe, nothing needs to be folded
    console.print(table, highlight=False, markup=False)
    for note in answer.notes:
        print(f"note: {note}")
    if answer.command:  # not through rich, which would break the line
        print(f"\n{answer.command}")


def hours(seconds: float) -> str:
    """A duration for people: hours, and minutes where it is short."""
    return f"{seconds / 3600:.4g} h" if seconds >= 3600 else f"{seconds / 60:.4g} min"
