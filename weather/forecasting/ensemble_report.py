"""The scores of an ensemble for people and for programs: a table, JSON, CSV and one figure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from weather.errors import ConfigError
from weather.forecasting.ensemble_measures import MEASURES, EnsembleSkill
from weather.presentation.writing import csv_text, plain, write_whole
from weather.verification.scores import COVERAGE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST_LEADS = 3  # in the table on the console
MOST_CHANNELS = 4  # in the figure
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
    write_whole(path, json.dumps(skill.as_dict(), indent=1, allow_nan=False))
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
    """So many significant digits, 1470 and not 1.47e+03."""
    return f"{float(f'{value:.{count}g}'):g}"


def draw_scores(skill: EnsembleSkill, path: Path, title: str) -> None:
    """A PNG with a row for each of the first channels: RMSE and spread by lead, CRPS, and rank histograms.

    Bands are intervals over initial times.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("the figure needs matplotlib", rule="it is an extra", fix="pip install matplotlib") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = min(MOST_CHANNELS, len(skill.channels))
    verified = np.flatnonzero(skill.forecasts)
    days = np.array(skill.lead_hours)[verified] / 24
    figure, axes = plt.subplots(rows, 3, figsize=(13, 2.7 * rows), squeeze=False, layout="constrained")
    for c in range(rows):
        curves, score, ranks = axes[c]
        unit = f" [{skill.units[c]}]" if skill.units[c] else ""
        for axis, names in ((curves, ("rmse", "spread")), (score, ("crps", "fair_crps"))):
            for name, line in zip(names, ("o-", "s--"), strict=True):
                found = skill.measures[name]
                (drawn,) = axis.plot(days, found.estimate[verified, c], line, markersize=3, label=TITLES[name])
                bounds = found.low[verified, c], found.high[verified, c]
                axis.fill_between(days, *bounds, color=drawn.get_color(), alpha=0.2, linewidth=0)
                axis.vlines(days, *bounds, color=drawn.get_color(), linewidth=0.8)  # a band of one lead has no width
        for lead in dict.fromkeys((verified[0], verified[len(verified) // 2], verified[-1])):
            places = np.arange(skill.members + 1)
            ranks.plot(
                places, skill.rank_histogram[lead, c], drawstyle="steps-mid", label=f"{skill.lead_hours[lead]:g} h"
            )
        ranks.axhline(1 / (skill.members + 1), color="grey", linewidth=0.8, linestyle=":", label="reliable")
        for axis, name in ((curves, f"error and spread{unit}"), (score, f"CRPS{unit}"), (ranks, "rank of the truth")):
            axis.set_title(f"{skill.channels[c]}: {name}", fontsize=10)
            axis.set_ylim(bottom=0)
            axis.legend(fontsize=8)
        if c == rows - 1:
            curves.set_xlabel("lead [days]")
            score.set_xlabel("lead [days]")
            ranks.set_xlabel("members below the truth")
    figure.suptitle(title)
    figure.savefig(path, dpi=90)
    plt.close(figure)
