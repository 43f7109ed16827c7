"""What the law leaves of each run, over size, samples and FLOPs: a trend there is an error of the law's form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.parts import Drawing, Part
from weather.presentation.style import MARKERS, graded, new_figure, plain_ticks, styled
from weather.study.report.analysis import METHOD, Analysis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from weather.study.fits.laws import Array

TITLE, ANCHOR = "Residuals", "residuals"


def residual_part(analysis: Analysis) -> Part:
    """Residuals of L(N, D), or why there are none."""
    if analysis.law is None:
        return Part(ANCHOR, TITLE, missing=f"No residuals without a law: {analysis.fit.refused[METHOD]}")
    runs = analysis.runs
    residuals = np.log(runs.loss / analysis.law.loss(runs.parameters, runs.samples))
    largest = int(np.argmax(np.abs(residuals)))
    caption = (
        "Loss of each run against the law, in percent; colour and marker tell the budget, the grey band is the "
        "standard deviation. Points should scatter about zero without a trend or a bend. The largest is "
        f"{100 * residuals[largest]:+.2f} %, of {analysis.names[largest]}."
    )
    drawing = Drawing(
        "residuals",
        _figure(analysis, residuals),
        caption,
        "Residuals of the fitted law over model size, samples and FLOPs.",
        ("run", "parameters", "samples", "flops", "ln_loss_over_law"),
        tuple(
            zip(
                analysis.names,
                *(values.tolist() for values in (runs.parameters, runs.samples, runs.flops, residuals)),
                strict=True,
            )
        ),
    )
    return Part(ANCHOR, TITLE, drawings=(drawing,))


@styled
def _figure(analysis: Analysis, residuals: Array) -> Figure:
    runs = analysis.runs
    figure, axes = new_figure(1, 3, height=3.3)
    budgets = runs.budgets()
    panels = (("N [parameters]", runs.parameters), ("D [samples]", runs.samples), ("C [FLOPs]", runs.flops))
    noise = 100 * float(residuals.std())
    for axis, (label, values) in zip(axes[0], panels, strict=True):
        axis.axhspan(-noise, noise, color="#9ca3af", alpha=0.25, lw=0)
        axis.axhline(0, color="#374151", lw=0.8)
        for place, (index, colour) in enumerate(zip(budgets, graded(len(budgets)), strict=True)):
            axis.plot(values[index], 100 * residuals[index], MARKERS[place % len(MARKERS)], color=colour, ms=5)
        axis.set(xscale="log", xlabel=label)
        axis.set_ylim(*(1.15 * 100 * np.abs(residuals).max() * np.array([-1, 1]) + [-1e-6, 1e-6]))
    for axis in axes[0]:
        plain_ticks(axis)
    axes[0, 0].set_ylabel("loss over law − 1 [%]")
    for axis in axes[0, 1:]:
        axis.tick_params(labelleft=False)
    return figure
