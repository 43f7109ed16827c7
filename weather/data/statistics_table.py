"""Statistics as people read them."""

from __future__ import annotations

from collections.abc import Sequence

from weather.data.statistics_comparison import AGREES, Deviation
from weather.data.statistics_record import StatisticsRecord
from weather.presentation.numbers import ranges


def print_record(record: StatisticsRecord, title: str) -> None:
    """A table of the channels, and one of their differences by lead."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for column in ("channel", "unit"):
        table.add_column(column)
    for column in ("mean", "std", "min", "max"):
        table.add_column(column, justify="right", no_wrap=True)
    moments = record.moments
    columns = (moments.mean, moments.stds, moments.minimum, moments.maximum)
    for index, (name, unit) in enumerate(zip(record.channels, record.channel_units, strict=True)):
        table.add_row(name, unit, *(f"{column[index]:.5g}" for column in columns))
    console = Console()
    console.print(table)
    if record.differences:
        changes = Table(title="std of x(t + lead) - x(t)")
        changes.add_column("channel")
        for lead in record.differences:
            changes.add_column(f"{lead * record.step_hours:g} h", justify="right", no_wrap=True)
        for index, name in enumerate(record.channels):
            changes.add_row(name, *(f"{each.stds[index]:.4g}" for each in record.differences.values()))
        console.print(changes)
    years = f", {'year' if len(record.years) == 1 else 'years'} {ranges(record.years)}" if record.years else ""
    points = f"{record.grid.latitudes} x {record.grid.longitudes} points"
    print(f"{record.states} states in {len(record.files)} file(s){years}, {points}, without area weights")


def print_deviations(deviations: Sequence[Deviation], step_hours: float) -> None:
    """A table of how far the statistics on disk are off."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="on disk, beside the states")
    for column in ("channel", "of"):
        table.add_column(column)
    for column in ("mean off by stds", "std off by", "verdict"):
        table.add_column(column, justify="right")
    for each in deviations:
        of = "states" if each.lead is None else f"differences, {each.lead * step_hours:g} h"
        table.add_row(
            each.channel, of, f"{each.mean_off:+.2e}", f"{each.std_off:+.2e}", "agrees" if each.agrees else "WRONG"
        )
    Console().print(table)
    wrong = sum(not each.agrees for each in deviations)
    print(f"{len(deviations) - wrong} of {len(deviations)} agree within {AGREES:g}")
