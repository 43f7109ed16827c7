"""Scaling over nodes and devices: throughput against ranks, efficiency, and the serial share behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import count, number, share
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, MARKERS, QUIET, new_figure, plain_ticks, styled
from weather.study.design.variation import BASE
from weather.study.fits.efficiency import Efficiency, scaling_efficiency
from weather.study.report.material import Material

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE, ANCHOR = "Scaling over nodes and devices", "efficiency"
MACHINE_FACTORS = ("node", "devices")
COLUMNS = (
    Column("scaling", "scaling"),
    Column("ranks", "ranks", count),
    Column("samples_per_second", "samples / s", number),
    Column("speedup", "speedup", lambda value: number(value, 3)),
    Column("efficiency", "efficiency", share),
)


def efficiency_part(material: Material) -> Part:
    """Throughput over ranks against the ideal, or why there is none."""
    measured = [row for row in material.finished() if row.positive("world_size") and row.positive("samples_per_second")]
    kinds = dict.fromkeys(
        (row.text("label.factor"), row.text("label.scaling"))
        for row in measured
        if row.text("label.factor") in MACHINE_FACTORS
    )
    found = {}
    for factor, scaling in kinds:
        rows = [row for row in measured if (row.text("label.factor"), row.text("label.scaling")) == (factor, scaling)]
        rows += [row for row in measured if row.text("label.factor") == BASE]
        ranks, speed = (np.array([row.number(key) for row in rows]) for key in ("world_size", "samples_per_second"))
        if len({*ranks}) > 1:
            found[f"{factor}, {scaling}"] = scaling_efficiency(ranks, speed, weak=scaling == "weak")
    if not found:
        command = "python -m weather.scaling run --scale_types node devices --scale_factors 1 2 4"
        return Part(
            ANCHOR, TITLE, missing="No runs here differ in their number of ranks; such a study is:", command=command
        )
    values = tuple(
        (name, *point)
        for name, fit in found.items()
        for point in zip(*(getattr(fit, column.name).tolist() for column in COLUMNS[1:]), strict=True)
    )
    caption = (
        "Left: throughput over ranks, dotted: ideal from the fewest ranks, dashed: Amdahl's law, where it is fitted. "
        "Right: efficiency, the throughput of a rank over that with the fewest. Strong scaling keeps the global batch, "
        "weak scaling the batch of a rank."
    )
    alternative = "Throughput and parallel efficiency over the number of ranks."
    names = tuple(column.name for column in COLUMNS)
    drawing = Drawing("scaling_efficiency", _figure(found), caption, alternative, names, values)
    sheet = Sheet("efficiency", "Measured throughput, relative to the fewest ranks.", COLUMNS, values)
    remarks = tuple(
        f"{name}: {share(fit.serial_share)} of the time on one rank does not shorten with more ranks."
        for name, fit in found.items()
        if fit.serial_share is not None
    )
    return Part(ANCHOR, TITLE, remarks, (drawing,), (sheet,))


@styled
def _figure(found: dict[str, Efficiency]) -> Figure:
    figure, axes = new_figure(1, 2, height=3.6)
    left, right = axes[0]
    for place, (name, fit) in enumerate(found.items()):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        left.plot(fit.ranks, fit.samples_per_second, marker, color=colour, label=name)
        left.plot(fit.ranks, fit.samples_per_second[0] * fit.ranks / fit.ranks[0], ":", color=QUIET)
        between = np.geomspace(fit.ranks[0], fit.ranks[-1], 40)
        amdahl = [fit.samples_per_second_at(float(ranks)) for ranks in between]
        if None not in amdahl:
            left.plot(between, amdahl, "--", color=colour, lw=1.0)
        right.plot(fit.ranks, 100 * fit.efficiency, marker, ls="-", lw=1.0, color=colour)
    left.set(yscale="log", ylabel="samples / s")
    left.legend()
    plain_ticks(left)
    ranks = sorted({float(count_) for fit in found.values() for count_ in fit.ranks})
    for axis in (left, right):
        _rank_axis(axis, ranks)
    right.axhline(100, ls=":", color=QUIET)
    right.set(ylabel="efficiency [%]")
    right.set_ylim(bottom=0)
    return figure


def _rank_axis(axis: Axes, ranks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ranks, [f"{n:g}" for n in ranks])
    axis.minorticks_off()
    axis.set_xlabel("ranks")
