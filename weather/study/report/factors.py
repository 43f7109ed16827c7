"""One-factor studies: loss, speed, memory and MFU against what was scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weather.presentation.numbers import count, number
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, MARKERS, QUIET, new_figure, plain_ticks, styled
from weather.study.design.variation import BASE
from weather.study.report.material import Material, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FACTOR, SCALE, SCALING = "label.factor", "label.scale", "label.scaling"
CODED = ("precision", "memory")  # whose runs are one of each kind, and not multiples of the base
PANELS = (
    ("loss", "validation loss [1]"),
    ("samples_per_second", "samples / s"),
    ("memory_gb", "peak memory of a rank [GB]"),
    ("mfu", "MFU [share of peak]"),
)


def factor_parts(material: Material) -> list[Part]:
    """A part for each factor of the plan; the base is the run of scale 1 of all that scale something."""
    factors = dict.fromkeys(str(run.labels["factor"]) for run in material.plan.runs if "factor" in run.labels)
    return [_factor_part(material, factor) for factor in factors if factor != BASE]


def _factor_part(material: Material, factor: str) -> Part:
    title, anchor = f"Factor: {factor}", f"factor-{factor}"
    members = (factor,) if factor in CODED else (BASE, factor)
    planned = sum(run.labels.get("factor") in members for run in material.plan.runs)
    rows = [row for row in material.finished() if row.text(FACTOR) in members]
    if not rows:
        missing = f"None of its {planned} runs has finished; this goes on with them:"
        return Part(anchor, title, missing=missing, command=material.command("start"))
    rows.sort(key=lambda row: (row.number(SCALE) or 0.0, row.name))
    columns = (
        Column("name", "run"),
        Column("scale", "scale"),
        Column("N", "N", count),
        Column("D", "D", count),
        *(Column(name, heading, number) for name, heading in PANELS),
    )
    values = tuple(
        (row.name, _label(row), *(row.number(key) for key in ("N", "D", *(name for name, _ in PANELS)))) for row in rows
    )
    what = "all that is possible, the base's own among them" if factor in CODED else "scale 1 is the base"
    caption = (
        f"Loss, throughput, memory and MFU against the scale of '{factor}'; {what}. All else is as in the base config. "
        f"{len(rows)} of {planned} runs have finished."
    )
    if len({row.text("validation_set") for row in rows}) > 1:
        caption += " They are validated on different grids, channels or times, so that their losses do not compare."
    drawing = Drawing(
        f"factor_{factor}",
        _figure(rows, factor),
        caption,
        f"Four panels over the scale of {factor}: validation loss, throughput, memory and MFU.",
        tuple(column.name for column in columns),
        values,
    )
    sheet = Sheet(f"factor_{factor}_runs", f"Runs of '{factor}'.", columns, values)
    return Part(anchor, title, drawings=(drawing,), sheets=(sheet,))


def _label(row: Row) -> str:
    scale = row.number(SCALE)
    return f"{scale:g}" if scale is not None else row.text(SCALE) or row.name


def _series(rows: list[Row]) -> dict[str, list[Row]]:
    """One of all runs, or a strong and a weak one; the base is part of both."""
    kinds = list(dict.fromkeys(row.text(SCALING) for row in rows if row.text(SCALING)))
    return {kind: [row for row in rows if row.text(SCALING) in ("", kind)] for kind in kinds} or {"": rows}


def _figure(rows: list[Row], factor: str) -> Figure:
    scales = [[row.positive(SCALE) for row in each] for each in _series(rows).values()]
    if all(None not in each and len({*each}) == len(each) for each in scales):
        return _curves(rows)
    return _dots(rows, factor)


@styled
def _curves(rows: list[Row]) -> Figure:
    """Over the scale; strong and weak scaling side by side."""
    figure, axes = new_figure(1, 4, height=3.0, width=10.0)
    series = _series(rows)
    ticks = {float(row.positive(SCALE) or 0.0): _label(row) for row in rows}
    for panel, (axis, (column, label)) in enumerate(zip(axes[0], PANELS, strict=True)):
        drawn: list[float] = []
        for kind, (name, each) in enumerate(series.items()):
            points = [(row.positive(SCALE), value) for row in each if (value := row.number(column)) is not None]
            if points:
                style = {"ls": ("-", "--")[kind % 2], "color": COLOURS[panel]}
                axis.plot(*zip(*points, strict=True), MARKERS[panel + kind], label=name, **style)
                drawn += [value for _, value in points]
        if not drawn:
            _not_measured(axis)
        elif column in ("loss", "samples_per_second") and min(drawn) > 0:
            axis.set_yscale("log")
            plain_ticks(axis)
        else:
            axis.set_ylim(0, 1.1 * max(drawn) or 1.0)
        if drawn and len(series) > 1:
            axis.legend()
        axis.set_xscale("log")
        axis.set_xlim(min(ticks) / 1.3, max(ticks) * 1.3)
        axis.set_xticks(list(ticks), list(ticks.values()))
        axis.minorticks_off()
        axis.set(xlabel="scale", title=label)
    return figure


@styled
def _dots(rows: list[Row], factor: str) -> Figure:
    """A line a run, for kinds that have no order."""
    figure, axes = new_figure(1, 4, height=1.2 + 0.26 * len(rows), width=10.0)
    names = [row.name.removeprefix(f"{factor}-") for row in rows]
    places = range(len(rows))
    for panel, (axis, (column, label)) in enumerate(zip(axes[0], PANELS, strict=True)):
        values = [row.number(column) for row in rows]
        known = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
        if known:
            axis.plot([value for _, value in known], [place for place, _ in known], MARKERS[0], color=COLOURS[panel])
            axis.locator_params(axis="x", nbins=3)
        else:
            _not_measured(axis)
        axis.set_yticks(places, names if panel == 0 else [""] * len(rows))
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set(title=label)
    return figure


def _not_measured(axis: Axes) -> None:
    axis.text(0.5, 0.5, "not measured", ha="center", va="center", color=QUIET, transform=axis.transAxes)
