"""The scores of an ensemble for people and for programs: a table, JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.forecasting.ensemble_measures import MEASURES, EnsembleSkill
from weather.presentation.writing import csv_text, plain, write_json, write_whole
from weather.verification.scores import COVERAGE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_LEADS = 3  # in the table on the console
TITLES = {
    "crps": "CRPS",
    "fair_crps": "fair CRPS",
    "rmse": "RMSE of mean",
    "spread": "spread",
    "spread_skill_ratio": "ratio",
    "outside": "outside",
}


def write_scores(skill: EnsembleSkill, path: Path) -> None:
    """Write the scores as JSON, and as CSV beside it, where what is not finite is empty."""
    write_json(path, skill.as_dict())
    bounds = [f"{name}_{end}" for name in MEASURES for end in ("low", "high")]
    columns = ["channel", "unit", "lead_hours", "members", "forecasts", *MEASURES, *bounds]
    write_whole(path.with_suffix(".csv"), csv_text(columns, _rows(skill)))


def _rows(skill: EnsembleSkill) -> Iterator[list[Any]]:
    for c, channel in enumerate(skill.channels):
        for lead, hours in enumerate(skill.lead_hours):
            values = [each.estimate[lead, c] for each in skill.measures.values()]
            bounds = [end[lead, c] for each in skill.measures.values() for end in (each.low, each.high)]
            about = [channel, skill.units[c], f"{hours:g}", skill.members, int(skill.forecasts[lead])]
            yield [*about, *plain([*values, *bounds])]


def print_scores(skill: EnsembleSkill, console: Console | None = None) -> None:
    """A table of some leads, from the first to the last that has truth; below each score its interval.

    Args:
        console: where to; None: standard output.
    """
    from rich.console import Console

    console = console or Console(highlight=False)
    verified = np.flatnonzero(skill.forecasts)
    for lead in verified[np.unique(np.linspace(0, len(verified) - 1, MOST_LEADS).round().astype(int))]:
        table = _table(skill, lead, " to ")
        if console.measure(table, options=console.options.update(width=1000)).maximum > console.width:
            table = _table(skill, lead, "\n")
        console.print(f"{skill.lead_hours[lead]:g} h, {skill.members} members, {skill.forecasts[lead]} forecast(s)")
        console.print(table)
        blocks = f"below: {COVERAGE:.0%} intervals over initial times, in blocks of {skill.blocks[lead]}"
        console.print(skill.without_intervals(lead) or blocks, soft_wrap=True)
    outside = "outside: share of the area where the truth is outside the ensemble"
    console.print(f"{outside}; reliable: {skill.reliable_outside:.3g}", soft_wrap=True)


def _table(skill: EnsembleSkill, lead: int, between: str) -> Table:
    """With this between the bounds of an interval."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    table.add_column("channel", no_wrap=True)
    for name in MEASURES:
        table.add_column(TITLES[name], justify="right", no_wrap=True)
    for c, channel in enumerate(skill.channels):
        unit = f"[{skill.units[c]}]" if skill.units[c] else ""
        cells = [escape(f"{channel}\n{unit}" if skill.blocks[lead] else f"{channel} {unit}")]
        for found in skill.measures.values():
            low, high = found.low[lead, c], found.high[lead, c]
            bounds = f"\n{_digits(low, 3)}{between}{_digits(high, 3)}" if np.isfinite(low) else ""
            cells.append(_digits(found.estimate[lead, c], 4) + bounds)
        table.add_row(*cells)
    return table


def _digits(value: float, count: int) -> str:
    """So many significant digits, trailing zeros too, so that a column lines up; 1470 and not 1.47e+03."""
    if not np.isfinite(value):
        return "-"  # a forecast blew up
    rounded = float(f"{value:.{count}g}")
    return f"{rounded:.0f}" if abs(rounded) >= 10**count else f"{rounded:#.{count}g}".rstrip(".")
