"""Errors of the runs by channel and lead time, against persistence and climatology, and maps of how they scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from weather.errors import WeatherError
from weather.presentation.numbers import number
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import QUIET, graded, new_figure, styled
from weather.study.fits.channels import fit_channels
from weather.study.report.channel_maps import MAPS, draw_channel_maps
from weather.study.report.material import Material
from weather.study.results.channel_text import channel_lines
from weather.study.results.skill import SKILL_FILE, channel_errors, read_skill
from weather.study.results.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, ANCHOR = "Channels and lead times", "channels"
MOST_CHANNELS = 12
COLUMNS = 3
Errors = dict[str, dict[str, list[tuple[float, float]]]]  # channel, run (or reference), (lead hours, RMSE)


def skill_part(material: Material, table: Table | None) -> Part:
    """Errors over lead time, and maps of how they scale; or the command that measures them.

    Args:
        table: of the runs to which laws are fitted; None where there are none: then there are no maps.
    """
    units = {row["channel"]: row.get("unit", "") for row in material.skill if row.get("channel")}
    errors, references = _errors(material, "rmse"), _references(material)
    if not errors:
        command = material.command("verify")
        return Part(
            ANCHOR, TITLE, missing="No run was verified by channel and lead yet; this does it:", command=command
        )
    shown = list(errors)[:MOST_CHANNELS]
    more = (
        f" The first {MOST_CHANNELS} of {len(errors)} channels; the CSV file has all."
        if len(errors) > MOST_CHANNELS
        else ""
    )
    caption = (
        "Root mean squared error over lead time; dark runs had few FLOPs, bright ones many. Dashed: persistence, "
        "dotted: climatology. Where bright lines do not lie below dark ones, compute has not helped." + more
    )
    rows = tuple(
        (channel, units[channel], run, lead, rmse)
        for channel, runs in errors.items()
        for run, points in runs.items()
        for lead, rmse in points
    )
    drawing = Drawing(
        "skill",
        _figure(material, {channel: errors[channel] for channel in shown}, references, units),
        caption,
        f"Root mean squared error over lead time of {len(shown)} channels, a line for each run.",
        ("channel", "unit", "run", "lead_hours", "rmse"),
        rows,
    )
    best = tuple(
        (channel, lead, units[channel], *min((rmse, run) for run, rmse in found))
        for channel in errors
        for lead, found in sorted(_by_lead(errors[channel]).items())
    )
    columns = (
        Column("channel", "channel"),
        Column("lead_hours", "lead [h]", lambda value: f"{value:g}"),
        Column("unit", "unit"),
        Column("rmse", "least RMSE", number),
        Column("run", "run"),
    )
    sheet = Sheet("skill_best", "The best run of each channel and lead time.", columns, best)
    maps, remarks = _maps(material, table) if table is not None else ((), ())
    return Part(ANCHOR, TITLE, drawings=(drawing, *maps), sheets=(sheet,), remarks=remarks)


def _maps(material: Material, table: Table) -> tuple[tuple[Drawing, ...], tuple[str, ...]]:
    """The maps, and remarks; only a remark where nothing can be fitted by channel."""
    path = material.folder.path / SKILL_FILE
    try:
        scaling = fit_channels(channel_errors(table, read_skill(path), _split(material)))
    except WeatherError as error:
        return (), (f"No maps of how channels scale: {error}",)
    caption = (
        "How the mean squared error of each channel at each lead scales: exponents of compute, size and data, and "
        "where the size that the pooled loss advises is not the best for the channel (x). Grey: nothing is fitted."
    )
    drawing = Drawing(
        "channel_maps",
        draw_channel_maps(scaling),
        caption,
        f"Maps of exponents by channel and lead: {len(scaling.channels)} channels, {len(scaling.leads)} leads.",
        ("channel", "lead_hours", *(each.title for each in MAPS)),
        tuple((fit.channel, fit.lead_hours, *(each.value(fit) for each in MAPS)) for fit in scaling.fits),
    )
    return (drawing,), tuple(channel_lines(scaling))


def _split(material: Material) -> str:
    """The split that is shown: the test split, if it was verified."""
    splits = {row.get("split", "") for row in material.skill}
    return "test" if "test" in splits else min(splits)


def _errors(material: Material, column: str) -> Errors:
    found: Errors = {}
    for row in material.skill:
        if row.get("split", "") != _split(material):
            continue
        lead, value = _number(row, "lead_hours"), _number(row, column)
        if lead is not None and value is not None:
            found.setdefault(row["channel"], {}).setdefault(row["run"], []).append((lead, value))
    for runs in found.values():
        for points in runs.values():
            points.sort()
    return found


def _references(material: Material) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found = {}
    for kind in ("persistence", "climatology"):
        for channel, runs in _errors(material, f"{kind}_rmse").items():
            found[channel, kind] = max(runs.values(), key=len)  # the same for all runs
    return found


def _number(row: dict[str, str], column: str) -> float | None:
    try:
        value = float(row.get(column) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _by_lead(runs: dict[str, list[tuple[float, float]]]) -> dict[float, list[tuple[str, float]]]:
    leads: dict[float, list[tuple[str, float]]] = {}
    for run, points in runs.items():
        for lead, rmse in points:
            leads.setdefault(lead, []).append((run, rmse))
    return leads


@styled
def _figure(
    material: Material,
    errors: Errors,
    references: dict[tuple[str, str], list[tuple[float, float]]],
    units: dict[str, str],
) -> Figure:
    columns = min(COLUMNS, len(errors))
    lines = -(-len(errors) // columns)
    figure, axes = new_figure(lines, columns, height=0.6 + 2.4 * lines)
    flops = {run.name: run.cost.flops for run in material.plan.runs}
    runs = sorted({run for channel in errors.values() for run in channel}, key=lambda run: flops.get(run, 0))
    colours = dict(zip(runs, graded(len(runs)), strict=True))
    for axis, (channel, lines_of_runs) in zip(axes.flat, errors.items(), strict=False):
        for run, points in lines_of_runs.items():
            axis.plot(*zip(*points, strict=True), "o-", ms=3, lw=1, color=colours[run])
        for kind, style in (("persistence", "--"), ("climatology", ":")):
            if (channel, kind) in references:
                axis.plot(*zip(*references[channel, kind], strict=True), style, color=QUIET, label=kind)
        unit = f" [{units[channel]}]" if units[channel] else ""
        axis.set(title=f"{channel}{unit}", xlabel="lead time [h]")
        axis.set_ylim(bottom=0)
    for axis in axes[:, 0]:
        axis.set_ylabel("RMSE")
    for axis in axes.flat[len(errors) :]:
        axis.set_visible(False)
    if any(kind == "persistence" for _, kind in references):
        axes[0, 0].legend()
    return figure
