"""The scores of an ensemble for people and for programs: a table, JSON, CSV and one figure."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from weather.errors import ConfigError
from weather.forecasting.ensemble_skill import MEASURES, EnsembleSkill

MOST_LEADS = 3  # in the table on the console
MOST_CHANNELS = 4  # in the figure


def write_scores(skill: EnsembleSkill, path: Path) -> None:
    """Write the scores as JSON, and as CSV beside it."""
    path.write_text(json.dumps(skill.as_dict(), indent=1, allow_nan=False), encoding="utf-8")
    with open(path.with_suffix(".csv"), "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["channel", "unit", "lead_hours", "members", "forecasts", *MEASURES])
        for c, channel in enumerate(skill.channels):
            for lead, hours in enumerate(skill.lead_hours):
                values = [repr(float(getattr(skill, name)[lead, c])) for name in MEASURES]
                forecasts = int(skill.forecasts[lead])
                lines.writerow([channel, skill.units[c], f"{hours:g}", skill.members, forecasts, *values])


def print_scores(skill: EnsembleSkill) -> None:
    """A table of some leads, from the first to the last that has truth."""
    from rich.console import Console
    from rich.table import Table

    verified = np.flatnonzero(skill.forecasts)
    for lead in verified[np.unique(np.linspace(0, len(verified) - 1, MOST_LEADS).round().astype(int))]:
        table = Table(
            title=f"{skill.lead_hours[lead]:g} h, {skill.members} members, {skill.forecasts[lead]} forecast(s)"
        )
        for column in ("channel", "unit", "CRPS", "fair CRPS", "RMSE of mean", "spread", "ratio"):
            table.add_column(column, justify="left" if column in ("channel", "unit") else "right")
        for c, channel in enumerate(skill.channels):
            table.add_row(channel, skill.units[c], *(f"{getattr(skill, name)[lead, c]:.4g}" for name in MEASURES))
        Console().print(table)


def draw_scores(skill: EnsembleSkill, path: Path, title: str) -> None:
    """A PNG with a row for each of the first channels: RMSE and spread by lead, CRPS, and rank histograms.

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
        curves.plot(days, skill.rmse[verified, c], "o-", markersize=3, label="RMSE of the mean")
        curves.plot(days, skill.spread[verified, c], "s--", markersize=3, label="spread")
        score.plot(days, skill.crps[verified, c], "o-", markersize=3, label="CRPS")
        score.plot(days, skill.fair_crps[verified, c], "s--", markersize=3, label="fair CRPS")
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
