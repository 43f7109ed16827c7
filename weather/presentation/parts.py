"""What a page is made of: parts with figures and tables, each of which is written as a file too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather.presentation.writing import csv_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: in the CSV file, with the unit.
        title: on the page.
        text: how a value is shown there.
    """

    name: str
    title: str
    text: Callable[[Any], str] = str


@dataclass(frozen=True)
class Sheet:
    """A table: the CSV file holds the values, the page shows them as its columns say; None is an empty cell.

    Attributes:
        name: of the file, without ending.
        rows: of as many values as there are columns.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]

    def csv(self) -> str:
        """The file's text."""
        return csv_text([column.name for column in self.columns], self.rows)

    def cells(self) -> list[list[tuple[str, bool]]]:
        """(text, whether it is a number) of each cell."""
        return [
            [
                ("" if value is None else column.text(value), isinstance(value, (int, float)))
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.rows
        ]


@dataclass(frozen=True)
class Drawing:
    """A figure with the numbers that it shows.

    Attributes:
        name: of its files, without ending.
        caption: what to see in it.
        alternative: the same for who cannot see it.
        names, rows: of the CSV file; names hold the units; no rows: there is no file.
        drawn: the figure as PNG, for the page to show instead of drawing it again.
    """

    name: str
    figure: Figure
    caption: str
    alternative: str
    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    drawn: bytes | None = None

    def csv(self) -> str:
        """The file's text."""
        return csv_text(self.names, self.rows)


@dataclass(frozen=True)
class Part:
    """A chapter of a page.

    Attributes:
        anchor: its name in links.
        text: paragraphs before the figures.
        missing: why there is nothing to show; empty where there is something.
        command: that would change that.
        remarks: a list after the figures.
    """

    anchor: str
    title: str
    text: tuple[str, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    missing: str = ""
    command: str = ""
    remarks: tuple[str, ...] = ()
