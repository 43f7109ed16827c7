"""The best use of a budget: N_opt(C), D_opt(C) and the loss there, by the minima of the curves and by the law."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import between, count, number, power, significant
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, QUIET, new_figure, plain_ticks, styled
from weather.study.report.analysis import METHOD, Analysis
from weather.study.results.text import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, ANCHOR = "The best use of a budget", "optima"
PANELS = (("parameters", "N_opt [parameters]"), ("samples", "D_opt [samples]"), ("loss", "loss at the optimum [1]"))


def optima_part(analysis: Analysis) -> Part:
    """Optima over C, or why there are none."""
    fit = analysis.fit
    if fit.isoflops is None and analysis.law is None:
        reason = fit.refused.get("isoflops", "")
        return Part(ANCHOR, TITLE, missing=f"No optima: {reason} {fit.refused.get(METHOD, '')}".strip())
    caption = (
        "How size and samples should grow with FLOPs. Circles are the minima of the IsoFLOP curves (hollow: flawed, "
        f"left out), the dashed line is the power law through them, the blue band is the {analysis.level:.0%} interval "
        f"of the law L(N, D). The dotted line marks the next budget, {power(analysis.ahead)} FLOPs."
    )
    rows = []
    for name, band in analysis.optimum_bands.items():
        for values in zip(*(x.tolist() for x in (band.x, band.estimate, band.low, band.high)), strict=True):
            rows.append((name, *values))
    drawing = Drawing(
        "optima",
        _figure(analysis),
        caption,
        "Three panels over FLOPs: best model size, best number of samples, and the loss that they reach.",
        ("quantity", "flops", "estimate", "low", "high"),
        tuple(rows),
    )
    return Part(ANCHOR, TITLE, drawings=(drawing,), sheets=_sheets(analysis))


def _sheets(analysis: Analysis) -> tuple[Sheet, ...]:
    fit = analysis.fit
    exponents: list[tuple[str, float, str]] = []
    if fit.isoflops is not None:
        interval = between(fit.isoflop_exponent) + " by budget" if fit.isoflop_exponent else "needs three budgets"
        exponents.append(("minima of the IsoFLOP curves", fit.isoflops.parameters.exponent, interval))
    for method, law in fit.laws.items():
        bounds = (law.by_budget or law.by_run)["parameter_exponent"]
        source = "by budget" if law.by_budget else "by run"
        exponents.append((f"L(N, D), {METHODS[method]}", bounds.estimate, f"{between(bounds)} {source}"))
    sheets = [
        Sheet(
            "optimum_exponents",
            f"N_opt grows as Cᵃ, D_opt as C¹⁻ᵃ; {analysis.level:.0%} intervals.",
            (
                Column("method", "method"),
                Column("a", "a, of N_opt", number),
                Column("b", "1 − a, of D_opt", number),
                Column("interval_of_a", "interval of a"),
            ),
            tuple((method, value, 1 - value, interval) for method, value, interval in exponents),
        )
    ]
    coming = [(method, law.next_run) for method, law in fit.laws.items() if law.next_run is not None]
    if coming:
        sheets.append(
            Sheet(
                "next_run",
                f"The best run of {power(analysis.ahead)} FLOPs. The interval of the loss holds the loss of one run.",
                (
                    Column("method", "method"),
                    Column("parameters", "N", count),
                    Column("parameters_interval", "interval"),
                    Column("samples", "D", count),
                    Column("samples_interval", "interval"),
                    Column("loss", "loss", significant),
                    Column("loss_interval", "interval"),
                ),
                tuple(
                    (
                        METHODS[method],
                        run.parameters.estimate,
                        _counts(run.parameters.low, run.parameters.high),
                        run.samples.estimate,
                        _counts(run.samples.low, run.samples.high),
                        run.loss.estimate,
                        between(run.loss, 4),
                    )
                    for method, run in coming
                ),
            )
        )
    return tuple(sheets)


def _counts(low: float, high: float) -> str:
    return f"{count(low)} to {count(high)}"


@styled
def _figure(analysis: Analysis) -> Figure:
    figure, axes = new_figure(1, 3, height=3.6)
    runs, fit = analysis.runs, analysis.fit.isoflops
    span = np.geomspace(runs.flops.min() / 1.5, max(analysis.ahead, runs.flops.max()) * 1.5, 40)
    for axis, (name, label) in zip(axes[0], PANELS, strict=True):
        if name in analysis.optimum_bands:
            band = analysis.optimum_bands[name]
            axis.fill_between(band.x, band.low, band.high, color=COLOURS[0], alpha=0.2, lw=0)
            axis.plot(band.x, band.estimate, color=COLOURS[0], label="L(N, D)")
        if fit is not None:
            axis.plot(span, getattr(fit, name)(span), "--", color=COLOURS[1], label="power law of minima")
            for curve in fit.curves:
                if curve.optimum is not None:
                    axis.plot(
                        curve.flops,
                        getattr(curve.optimum, name),
                        "o",
                        ms=6,
                        color=QUIET if curve.flaw else COLOURS[1],
                        mfc="none" if curve.flaw else COLOURS[1],
                    )
        axis.set(xscale="log", yscale="log", xlabel="C [FLOPs]", title=label)
        axis.axvline(analysis.ahead, color=QUIET, ls=":", lw=1)
        plain_ticks(axis)
    axes[0, 0].legend(loc="upper left")
    return figure
