"""One-factor studies: loss, speed, memory and MFU against what was scaled; and scaling over nodes and devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weather.study.report.material import Material, Row
from weather.study.report.numbers import count, number, share
from weather.study.report.parts import Column, Drawing, Part, Sheet
from weather.study.report.style import COLOURS, MARKERS, QUIET, new_figure, plain_ticks, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FACTOR, SCALE = "label.factor", "label.scale"
PANELS = (
    ("loss", "validation loss [1]"),
    ("samples_per_second", "samples / s"),
    ("memory_gb", "peak memory of a rank [GB]"),
    ("mfu", "MFU [share of peak]"),
)
MACHINE_FACTORS = ("node", "nodes", "devices")


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
                plain_ticks(axis, "y")
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


def efficiency_part(material: Material) -> Part:
    """Throughput over ranks against the ideal, or why there is none."""
    title, anchor = "Scaling over nodes and devices", "efficiency"
    groups: dict[str, list[Row]] = {}
    for row in material.finished():
        measured = row.positive("world_size") and row.positive("samples_per_second")
        if row.text(FACTOR) in MACHINE_FACTORS and measured:
            groups.setdefault(row.text(FACTOR), []).append(row)
    groups = {name: rows for name, rows in groups.items() if len({row.number("world_size") for row in rows}) > 1}
    if not groups:
        command = "python -m weather.scaling run --scale_types node devices --scale_factors 1 2 4"
        return Part(
            anchor, title, missing="No runs here differ in their number of ranks; such a study is:", command=command
        )
    rows = []
    for name, group in groups.items():
        group.sort(key=lambda row: row.number("world_size") or 0.0)
        rows += [(name, _kind(group), *values) for values in _efficiencies(group)]
    caption = (
        "Left: throughput over ranks, dotted: ideal from the smallest run. Right: efficiency, the throughput of a rank "
        "over that in the smallest run. Strong scaling keeps the global batch, weak scaling the batch of a rank."
    )
    columns = (
        Column("factor", "factor"),
        Column("kind", "scaling"),
        Column("run", "run"),
        Column("ranks", "ranks", count),
        Column("batch_size", "global batch", count),
        Column("samples_per_second", "samples / s", number),
        Column("efficiency", "efficiency", share),
    )
    drawing = Drawing(
        "scaling_efficiency",
        _efficiency_figure(groups),
        caption,
        "Throughput and parallel efficiency over the number of ranks.",
        tuple(column.name for column in columns),
        tuple(rows),
    )
    sheet = Sheet("efficiency", "Measured throughput, not extrapolated.", columns, tuple(rows))
    return Part(anchor, title, drawings=(drawing,), sheets=(sheet,))


def _kind(rows: list[Row]) -> str:
    """What stayed the same while ranks were added."""
    if len({row.number("batch_size") for row in rows}) == 1:
        return "strong"
    per_rank = {(row.number("batch_size") or 0.0) / (row.number("world_size") or 1.0) for row in rows}
    return "weak" if len(per_rank) == 1 else "mixed"


def _efficiencies(rows: list[Row]) -> list[tuple[str, float, float | None, float, float]]:
    per_rank = [(row.number("samples_per_second") or 0.0) / (row.number("world_size") or 1.0) for row in rows]
    return [
        (
            row.name,
            row.number("world_size") or 0.0,
            row.number("batch_size"),
            row.number("samples_per_second") or 0.0,
            each / per_rank[0],
        )
        for row, each in zip(rows, per_rank, strict=True)
    ]


@styled
def _efficiency_figure(groups: dict[str, list[Row]]) -> Figure:
    figure, axes = new_figure(1, 2, height=3.6)
    left, right = axes[0]
    for place, (name, rows) in enumerate(groups.items()):
        values = _efficiencies(rows)
        ranks, speed = [value[1] for value in values], [value[3] for value in values]
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        left.plot(ranks, speed, **style, label=f"{name}, {_kind(rows)} scaling")
        left.plot(ranks, [speed[0] * n / ranks[0] for n in ranks], ":", color=QUIET)
        right.plot(ranks, [100 * value[4] for value in values], **style)
        for axis in (left, right):
            _rank_axis(axis, ranks)
    left.set(yscale="log", ylabel="samples / s")
    left.legend()
    plain_ticks(left, "y")
    right.axhline(100, ls=":", color=QUIET)
    right.set(ylabel="efficiency [%]")
    right.set_ylim(bottom=0)
    return figure


def _rank_axis(axis: Axes, ranks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ranks, [f"{n:g}" for n in ranks])
    axis.minorticks_off()
    axis.set_xlabel("ranks")
