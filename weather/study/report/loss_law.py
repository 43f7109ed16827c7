"""L(N, D) = E + A / N^alpha + B / D^beta: its curves with bands through the runs, its contours, its coefficients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import between, number, power, share
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, MARKERS, graded, new_figure, plain_ticks, styled
from weather.study.report.analysis import METHOD, Analysis
from weather.study.results.text import METHODS, least_irreducible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYMBOLS = {
    "irreducible": "E",
    "model_coefficient": "A",
    "data_coefficient": "B",
    "model_exponent": "α",
    "data_exponent": "β",
    "parameter_exponent": "a, of N_opt ∝ Cᵃ",
}
TITLE, ANCHOR = "Loss as a function of size and samples", "law"


def law_part(analysis: Analysis) -> Part:
    """The law, or why there is none."""
    law = analysis.law
    if law is None:
        return Part(ANCHOR, TITLE, missing=f"No law: {analysis.fit.refused[METHOD]}")
    text = (
        f"L(N, D) = E + A / Nᵅ + B / Dᵝ, where N counts parameters, D samples seen, and C = k N D with "
        f"k = {number(analysis.runs.flops_per_product)} FLOPs (median of the runs). "
        f"Figures show the fit by {METHODS[METHOD]} (Hoffmann et al. 2022; Besiroglu et al. 2024); a run lies "
        f"{share(analysis.fit.laws[METHOD].noise)} about it.",
    )
    level = f"{analysis.level:.0%}"
    drawings = (
        Drawing(
            "law_curves",
            _curves(analysis),
            f"The law at each budget, with the {level} band of the curve from the scatter of the runs. "
            "Where points leave their band on one side, the form is wrong there.",
            "Loss over model size at each budget: points are runs, lines the fitted law, shaded its interval.",
            ("budget", "parameters", "law_loss", "low", "high"),
            tuple(
                (number_, *values)
                for number_, band in enumerate(analysis.isoflop_bands)
                for values in zip(*(x.tolist() for x in (band.x, band.estimate, band.low, band.high)), strict=True)
            ),
        ),
        Drawing(
            "law_contours",
            _contours(analysis),
            "Loss of the law over model size and samples; dotted lines are equal FLOPs, points are the runs that were "
            "fitted, the orange line is the best use of each budget. Far from the points the law is extrapolated.",
            "Contours of the fitted loss over model size and samples, with the runs and the compute-optimal line.",
            ("parameters", "samples", "loss"),
            tuple(
                zip(
                    analysis.runs.parameters.tolist(),
                    analysis.runs.samples.tolist(),
                    analysis.runs.loss.tolist(),
                    strict=True,
                )
            ),
        ),
    )
    return Part(ANCHOR, TITLE, text, drawings, (_coefficients(analysis),))


def _coefficients(analysis: Analysis) -> Sheet:
    level = f"{analysis.level:.0%}"
    nothing = least_irreducible(analysis.runs)
    rows = []
    for method, fit in analysis.fit.laws.items():
        for name, interval in fit.by_run.items():
            wide = fit.by_budget[name] if fit.by_budget else None
            bounds = (between(interval), between(wide) if wide else "needs three budgets")
            estimate = 0.0 if name == "irreducible" and interval.estimate < nothing else interval.estimate
            rows.append((METHODS[method], SYMBOLS[name], estimate, *bounds))
    columns = (
        Column("method", "method"),
        Column("quantity", "quantity"),
        Column("estimate", "estimate", number),
        Column("interval_by_run", f"{level} by run"),
        Column("interval_by_budget", f"{level} by budget"),
    )
    caption = (
        "Coefficients. By run: from the scatter of the runs, the form taken as right. By budget: from how far the fit "
        "moves without each budget in turn, which includes a form that is not quite right."
    )
    return Sheet("law_coefficients", caption, columns, tuple(rows))


@styled
def _curves(analysis: Analysis) -> Figure:
    runs = analysis.runs
    figure, axes = new_figure(1, 1, height=4.8)
    axis = axes[0, 0]
    budgets = runs.budgets()
    for place, (index, colour) in enumerate(zip(budgets, graded(len(budgets)), strict=True)):
        flops = float(np.median(runs.flops[index]))
        axis.plot(
            runs.parameters[index],
            runs.loss[index],
            MARKERS[place % len(MARKERS)],
            color=colour,
            ms=5,
            label=f"{power(flops, 2)} FLOPs",
        )
        if analysis.isoflop_bands:
            band = analysis.isoflop_bands[place]
            axis.fill_between(band.x, band.low, band.high, color=colour, alpha=0.22, lw=0)
            axis.plot(band.x, band.estimate, color=colour, lw=1.2)
    axis.set(xscale="log", yscale="log", xlabel="model size N [parameters]", ylabel="validation loss [1]")
    plain_ticks(axis)
    axis.legend(title="budget C", loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def _contours(analysis: Analysis) -> Figure:
    law, runs = analysis.law, analysis.runs
    assert law is not None
    k = runs.flops_per_product
    figure, axes = new_figure(1, 1, height=5.0)
    axis = axes[0, 0]
    sizes = np.geomspace(runs.parameters.min() / 2, runs.parameters.max() * 2, 120)
    samples = np.geomspace(runs.samples.min() / 2, runs.samples.max() * 2, 120)
    loss = law.loss(sizes[None, :], samples[:, None])
    levels = np.geomspace(loss.min(), loss.max(), 16)
    filled = axis.contourf(sizes, samples, loss, levels=levels, cmap="cividis", norm="log", alpha=0.85)
    bar = figure.colorbar(filled, ax=axis, label="loss of the law [1]")
    bar.set_ticks(levels[::3].tolist(), labels=[f"{level:.3g}" for level in levels[::3]])
    bar.minorticks_off()
    for index in runs.budgets():
        flops = float(np.median(runs.flops[index]))
        axis.plot(sizes, flops / (k * sizes), ":", color="white", lw=1)
    compute = np.geomspace(runs.flops.min() / 4, runs.flops.max() * 4, 40)
    best = [law.optimum(float(c), k) for c in compute]
    axis.plot(
        [each.parameters for each in best],
        [each.samples for each in best],
        color=COLOURS[1],
        lw=2,
        label="best use of a budget",
    )
    axis.plot(runs.parameters, runs.samples, "o", ms=4.5, mfc="white", mec="black", label="runs")
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="model size N [parameters]",
        ylabel="samples seen D",
        xlim=(sizes[0], sizes[-1]),
        ylim=(samples[0], samples[-1]),
    )
    axis.grid(False)
    axis.legend(loc="upper right", frameon=True, framealpha=0.9)
    return figure
