"""One-factor studies: loss, speed, memory and MFU against what was scaled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weather.study.report.material import Material, Row
from weather.study.report.numbers import count, number
from weather.study.report.parts import Column, Drawing, Part, Sheet
from weather.study.report.style import COLOURS, MARKERS, QUIET, new_figure, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FACTOR, SCALE = "label.factor", "label.scale"
PANELS = (
    ("loss", "validation loss [1]"),
    ("samples_per_second", "samples / s"),
    ("memory_gb", "peak memory of a rank [GB]"),
    ("mfu", "MFU [share of peak]"),
)


def factor_parts(material: Material) -> list[Part]:
    """A part for each factor of the plan."""
    factors = dict.fromkeys(str(run.labels["factor"]) for run in material.plan.runs if "factor" in run.labels)
    return [_factor_part(material, factor) for factor in factors]


def _factor_part(material: Material, factor: str) -> Part:
    title, anchor = f"Factor: {factor}", f"factor-{factor}"
    planned = sum(str(run.labels.get("factor")) == factor for run in material.plan.runs)
    rows = [row for row in material.finished() if row.text(FACTOR) == factor]
    if not rows:
        command = f"python -m weather.scaling run {material.study}"
        return Part(
            anchor, title, missing=f"None of its {planned} runs has finished; this goes on with them:", command=command
        )
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
    caption = (
        f"Loss, throughput, memory and MFU against the scale of '{factor}'; scale 1 is the base. All else is as in "
        f"the base config. {len(rows)} of {planned} runs have finished."
    )
    drawing = Drawing(
        f"factor_{factor}",
        _figure(rows),
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


@styled
def _figure(rows: list[Row]) -> Figure:
    figure, axes = new_figure(1, 4, height=3.0, width=10.0)
    scales = [row.positive(SCALE) for row in rows]
    ordered = None not in scales and len(set(scales)) == len(scales)
    places = [float(scale or 0.0) for scale in scales] if ordered else [float(place) for place in range(len(rows))]
    for place, (axis, (column, label)) in enumerate(zip(axes[0], PANELS, strict=True)):
        points = [(x, row.number(column)) for x, row in zip(places, rows, strict=True)]
        known = [(x, y) for x, y in points if y is not None]
        if known:
            axis.plot(*zip(*known, strict=True), MARKERS[place], ls="-" if ordered else "", color=COLOURS[place])
            if column in ("loss", "samples_per_second") and min(y for _, y in known) > 0:
                axis.set_yscale("log")
                plain_ticks(axis)
            else:
                axis.set_ylim(bottom=0)
        else:
            axis.text(0.5, 0.5, "not measured", ha="center", va="center", color=QUIET, transform=axis.transAxes)
        if ordered:
            axis.set_xscale("log")
            axis.set_xlim(min(places) / 1.3, max(places) * 1.3)
        axis.set_xticks(places, [_label(row) for row in rows], rotation=0 if ordered else 45)
        axis.minorticks_off()
        axis.set(xlabel="scale", title=label)
    return figure
