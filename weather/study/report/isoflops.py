"""IsoFLOP curves: the runs of each budget, the parabola through them, its minimum and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import count, power, significant
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import MARKERS, QUIET, graded, new_figure, plain_ticks, styled
from weather.study.fits.isoflop import IsoFlopCurve
from weather.study.report.analysis import Analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, ANCHOR = "IsoFLOP curves", "isoflops"
BEYOND = 1.25  # how far beyond its sizes a parabola is drawn


def isoflop_part(analysis: Analysis) -> Part:
    """The curves, or why there are none."""
    fit = analysis.fit.isoflops
    if fit is None:
        return Part(ANCHOR, TITLE, missing=f"No curves: {analysis.fit.refused['isoflops']}")
    good = sum(not curve.flaw for curve in fit.curves)
    caption = (
        "Validation loss against model size at equal FLOPs. Points are runs, lines are parabolas in ln N, stars are "
        "their minima; a hollow star has a flaw and is not used. A budget is well spent at the size under its star. "
        "Minima should lie inside the points and move to the right as budgets grow."
    )
    rows = tuple(
        (curve.flops, runs.parameters[i], runs.samples[i], runs.loss[i], float(curve.loss(runs.parameters[i])), name)
        for runs in (analysis.runs,)
        for curve in fit.curves
        for i, name in ((int(i), analysis.names[i]) for i in curve.runs)
    )
    drawing = Drawing(
        "isoflop_curves",
        _figure(analysis, fit.curves),
        caption,
        f"Loss over model size, one curve for each of {len(fit.curves)} budgets; {good} minima are inside the sizes.",
        ("budget_flops", "parameters", "samples", "loss", "parabola_loss", "run"),
        rows,
    )
    sheet = Sheet(
        "isoflop_minima",
        "Minima of the curves.",
        (
            Column("flops", "budget C [FLOPs]", power),
            Column("runs", "runs"),
            Column("parameters", "N at the minimum", count),
            Column("samples", "D at the minimum", count),
            Column("loss", "loss", significant),
            Column("flaw", "flaw"),
        ),
        tuple(
            (
                curve.flops,
                len(curve.runs),
                curve.optimum.parameters if curve.optimum else None,
                curve.optimum.samples if curve.optimum else None,
                curve.optimum.loss if curve.optimum else None,
                curve.flaw,
            )
            for curve in fit.curves
        ),
    )
    return Part(ANCHOR, TITLE, drawings=(drawing,), sheets=(sheet,))


@styled
def _figure(analysis: Analysis, curves: tuple[IsoFlopCurve, ...]) -> Figure:
    runs = analysis.runs
    figure, axes = new_figure(1, 1, height=4.8)
    axis = axes[0, 0]
    for number_, (curve, colour) in enumerate(zip(curves, graded(len(curves)), strict=True)):
        sizes = runs.parameters[curve.runs]
        marker = MARKERS[number_ % len(MARKERS)]
        axis.plot(sizes, runs.loss[curve.runs], marker, color=colour, ms=5, label=f"{power(curve.flops, 2)} FLOPs")
        line = np.geomspace(sizes.min() / BEYOND, sizes.max() * BEYOND, 80)
        axis.plot(line, curve.loss(line), color=colour, lw=1.3)
        if curve.optimum is not None and sizes.min() / 2 < curve.optimum.parameters < sizes.max() * 2:
            filled = "none" if curve.flaw else colour
            axis.plot(
                curve.optimum.parameters,
                curve.optimum.loss,
                "*",
                ms=14,
                mfc=filled,
                mec="black" if not curve.flaw else QUIET,
                mew=0.8,
                zorder=5,
            )
    axis.set(xscale="log", yscale="log", xlabel="model size N [parameters]", ylabel="validation loss [1]")
    plain_ticks(axis)
    axis.legend(title="budget C", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
