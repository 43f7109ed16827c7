"""Which form of a law the data prefer: by information (AICc) and by how it foretells the largest budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weather.presentation.numbers import number, raised, share
from weather.presentation.parts import Column, Drawing, Part, Sheet
from weather.presentation.style import COLOURS, MARKERS, new_figure, plain_ticks, styled
from weather.study.report.analysis import Analysis
from weather.study.results.text import METHODS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE, ANCHOR = "Forms compared, and tested on the largest budget", "forms"


def form_part(analysis: Analysis) -> Part:
    """The comparison and the back-tests, or why there is neither."""
    if not analysis.compute and not analysis.back_tests:
        reason = analysis.fit.refused.get("isoflops") or analysis.fit.refused.get("huber", "")
        return Part(ANCHOR, TITLE, missing=f"Nothing to compare: {reason}")
    compared = analysis.fit.compute
    text = []
    if compared:
        text.append(f"Loss of the best run of a budget, with or without an irreducible part: {compared.verdict}.")
    elif "compute" in analysis.fit.refused:
        text.append(f"Forms of L(C) are not compared: {analysis.fit.refused['compute']}")
    if analysis.fit.forms:
        text.append(f"L(N, D) beside itself without E, and with one exponent: {analysis.fit.forms.verdict}.")
    sheets = []
    if compared or analysis.fit.forms:
        sheets.append(_comparison(analysis))
    if analysis.back_tests:
        sheets.append(
            Sheet(
                "back_test",
                "L(N, D) fitted without the largest budget, and what it foretells of that budget's runs.",
                (
                    Column("method", "method"),
                    Column("runs", "runs foretold"),
                    Column("rms_ln_loss", "error, root mean square", share),
                    Column("mean_ln_loss", "bias (positive: foretold too high)", share),
                ),
                tuple(
                    (METHODS[method], len(test.errors), test.error, float(test.errors.mean()))
                    for method, test in analysis.back_tests.items()
                ),
            )
        )
    caption = (
        "Left: loss of the best run over FLOPs with both forms, drawn on to the next budget; where they part, the data "
        "do not decide. Right: loss foretold by L(N, D) without the largest budget, over what was seen; on the "
        "diagonal it is right."
    )
    drawing = Drawing(
        "back_test_runs",
        _figure(analysis),
        caption,
        "Left, the best loss over FLOPs with two fitted forms; right, predicted over observed loss of the back-test.",
        ("method", "flops", "ln_foretold_over_seen"),
        tuple(
            (method, flops, error)
            for method, test in analysis.back_tests.items()
            for flops, error in zip(test.flops.tolist(), test.errors.tolist(), strict=True)
        ),
    )
    return Part(ANCHOR, TITLE, tuple(text), (drawing,), tuple(sheets))


def _comparison(analysis: Analysis) -> Sheet:
    rows = []
    for of, found in (("L_opt(C)", analysis.fit.compute), ("L(N, D)", analysis.fit.forms)):
        for form, information in found.information.items() if found else ():
            rows.append((of, form, _formula(analysis, form), information, found.foretold.get(form) if found else None))
    columns = (
        Column("of", "of"),
        Column("form", "form"),
        Column("fitted", "fitted"),
        Column("aicc", "AICc", _information),
        Column("back_test_rms_ln_loss", "error of the back-test", share),
    )
    caption = (
        "Forms of the loss, at the optimum of each budget and over all runs. A lower AICc is better, within the same "
        "kind; a difference below 2 says nothing. The back-test fits without the largest budget and predicts it."
    )
    return Sheet("forms_compared", caption, columns, tuple(rows))


def _information(value: float) -> str:
    return number(value) if np.isfinite(value) else "too few budgets"


def _formula(analysis: Analysis, form: str) -> str:
    if form not in analysis.compute:
        return ""
    law = analysis.compute[form].law
    offset = f"{number(law.offset, 3)} + " if analysis.compute[form].coefficients == 3 else ""
    return f"{offset}{number(law.coefficient, 3)} {raised('C', law.exponent)}"


@styled
def _figure(analysis: Analysis) -> Figure:
    figure, axes = new_figure(1, 2, height=3.8)
    left, right = axes[0]
    if analysis.fit.isoflops is not None:
        for curve in analysis.fit.isoflops.curves:
            if curve.optimum is not None and not curve.flaw:
                left.plot(curve.flops, curve.optimum.loss, "o", color="black", ms=5, zorder=4)
    runs = analysis.runs
    span = np.geomspace(runs.flops.min() / 1.5, max(analysis.ahead, runs.flops.max()) * 1.5, 60)
    for place, (form, fit) in enumerate(analysis.compute.items()):
        left.plot(span, fit.law(span), ("-", "--")[place], color=COLOURS[place], label=form)
    left.set(xscale="log", yscale="log", xlabel="C [FLOPs]", ylabel="loss at the optimum [1]")
    plain_ticks(left)
    if analysis.compute:
        left.legend()
    largest = runs.take(runs.budgets()[-1])
    for place, (method, test) in enumerate(analysis.back_tests.items()):
        foretold = largest.loss * np.exp(test.errors)
        right.plot(
            largest.loss,
            foretold,
            MARKERS[place],
            color=COLOURS[place],
            ms=6,
            mfc="none",
            mew=1.4,
            label=METHODS[method],
        )
    bounds = np.array([largest.loss.min() / 1.04, largest.loss.max() * 1.04])
    right.plot(bounds, bounds, color="#374151", lw=0.8)
    right.set(xlabel="seen loss of the largest budget [1]", ylabel="foretold loss [1]")
    if analysis.back_tests:
        right.legend(loc="upper left")
    return figure
