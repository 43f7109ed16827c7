"""What was fitted, in words for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from weather.presentation.writing import plain
from weather.study.fits.comparison import Comparison
from weather.study.fits.fit import LawFit, RepeatedLawFit, StudyFit
from weather.study.fits.intervals import Interval
from weather.study.fits.isoflop import IsoFlopFit
from weather.study.fits.observations import Observations
from weather.study.results.table import Table

METHODS = {"huber": "Huber loss of ln L", "projection": "least squares in L, variable projection"}
MOST_NAMES = 5
NOTHING = 1e-3  # of the least loss: an E below is printed as 0
SYMBOLS = {
    "irreducible": "E",
    "model_coefficient": "A",
    "data_coefficient": "B",
    "model_exponent": "alpha",
    "data_exponent": "beta",
    "parameter_exponent": "a in N_opt ~ C^a",
}
REPETITION = {"data_repetitions": "R*_D", "model_excess": "R*_N"}


def table_lines(table: Table) -> Iterator[str]:
    """What of a table is not fitted, what looks wrong, and how far repeated runs lie apart."""
    for reason, names in _by_reason(table.left_out).items():
        yield f"left out: {_some(names)}: {reason}"
    repeating = [name for name, once in zip(table.names, table.runs.once, strict=True) if not once]
    if repeating:
        yield f"data repeat (D > U): {_some(repeating)}: fitted as repeated data only"
    yield from (f"note: {remark}" for remark in table.remarks)
    noise = table.seed_noise
    if noise is not None:
        yield (
            f"seed noise: {noise.deviation:.3%} of the loss, from {noise.runs} runs at {noise.points} points "
            f"({noise.degrees_of_freedom} degrees of freedom); no fit is taken to be closer"
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def fit_lines(table: Table, fit: StudyFit) -> Iterator[str]:
    """The report, line by line."""
    runs = table.runs
    yield f"{len(runs)} runs, {len(runs.budgets())} budgets, {runs.flops.min():.3g} to {runs.flops.max():.3g} FLOPs"
    yield f"C = {runs.flops_per_product:.4g} N D (median)"
    yield from table_lines(table)
    if fit.isoflops is not None:
        yield from _isoflop_lines(fit.isoflops, fit.isoflop_exponent)
    for method, law in fit.laws.items():
        yield from _law_lines(METHODS[method], law, least_irreducible(runs))
    if fit.compute is not None:
        yield ""
        yield f"L_opt(C), power law with or without an irreducible part: {fit.compute.verdict}."
    if fit.forms is not None:
        yield from _form_lines(fit.forms)
    if fit.repeated is not None:
        yield from _repeated_lines(fit.repeated)
    for what, reason in fit.refused.items():
        yield ""
        yield f"not fitted: {what}: {reason}"


def _by_reason(left_out: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out:
        reasons.setdefault(reason, []).append(name)
    return reasons


def _isoflop_lines(fit: IsoFlopFit, exponent: Interval | None) -> Iterator[str]:
    yield ""
    yield "IsoFLOP curves, a parabola in ln N each"
    yield f"  {'FLOPs':>10} {'runs':>5} {'N_opt':>10} {'D_opt':>10} {'loss':>10}"
    for curve in fit.curves:
        best = curve.optimum
        numbers = "" if best is None else f" {best.parameters:10.4g} {best.samples:10.4g} {best.loss:10.5g}"
        yield f"  {curve.flops:10.4g} {len(curve.runs):5}{numbers}  {curve.flaw}".rstrip()
    yield f"  N_opt = {fit.parameters.coefficient:.4g} C^{fit.parameters.exponent:.4f}" + (
        f", exponent {_between(exponent)} by budget" if exponent else ""
    )
    yield f"  D_opt = {fit.samples.coefficient:.4g} C^{fit.samples.exponent:.4f}"
    if fit.weighted:
        yield "  minima count by their errors, which differ much between these budgets"


def least_irreducible(runs: Observations) -> float:
    """The irreducible loss below which a fit has none."""
    return NOTHING * float(runs.loss.min())


def _law_lines(method: str, fit: LawFit, nothing: float) -> Iterator[str]:
    yield ""
    yield f"L(N, D) = E + A / N^alpha + B / D^beta, {method}; a run lies {fit.noise:.2%} about it"
    level = next(iter(fit.by_run.values())).level
    yield f"  {'':18} {'estimate':>10}  {f'{level:.0%} by run':>25}  {f'{level:.0%} by budget':>25}"
    for name, interval in fit.by_run.items():
        vanished = name == "irreducible" and interval.estimate < nothing
        least = nothing if name == "irreducible" else 0.0
        # At its bound a coefficient does not move when a budget is left out: no interval.
        wide = "" if fit.by_budget is None or vanished else _between(fit.by_budget[name], least)
        estimate = "0" if vanished else f"{interval.estimate:.4g}"
        yield f"  {SYMBOLS[name]:18} {estimate:>10}  {_between(interval, least):>25}  {wide:>25}".rstrip()
    if fit.by_run["irreducible"].low < nothing:
        yield "  no irreducible loss is seen: these runs are as well described by E = 0"
    if fit.next_run is not None:
        coming = fit.next_run
        yield f"  next run of {coming.flops:.3g} FLOPs (by run; by budget if budgets lie off the law together)"
        for name, interval in (("N", coming.parameters), ("D", coming.samples), ("loss", coming.loss)):
            yield f"    {name:5} {interval.estimate:.5g}, {_between(interval)}"


def _form_lines(forms: Comparison) -> Iterator[str]:
    yield ""
    yield f"L(N, D), forms: {forms.verdict}."
    for form, information in forms.information.items():
        foretold = f", largest budget foretold to {forms.foretold[form]:.2%}" if form in forms.foretold else ""
        yield f"  {form:29} AICc {information:.1f}{foretold}"


def _repeated_lines(fit: RepeatedLawFit) -> Iterator[str]:
    yield ""
    yield f"L(N, D, U) with data that repeat in {fit.repeating} runs; a run lies {fit.noise:.2%} about it"
    values = {"data_repetitions": fit.law.data_repetitions, "model_excess": fit.law.model_excess}
    for name, value in values.items():
        wide = "" if fit.by_budget is None else f", {_between(fit.by_budget[name])} by budget"
        interval = fit.by_run[name]
        yield f"  {REPETITION[name]} = {value:.4g}, {interval.level:.0%}: {_between(interval)} by run{wide}"
    if fit.flaw:
        yield f"  {fit.flaw}: more runs that repeat their data are needed"


def _between(interval: Interval, nothing: float = 0.0) -> str:
    low, high = ("0" if 0 < nothing > bound else f"{bound:.4g}" for bound in (interval.low, interval.high))
    return f"{low} to {high}"


def fit_json(table: Table, fit: StudyFit) -> dict[str, Any]:
    """The same for programs."""
    return {
        "runs": len(table.runs),
        "left_out": dict(table.left_out),
        "remarks": list(table.remarks),
        "fitted": list(table.names),
        "table": str(table.path),
        "table_sha256": table.digest,
        "seed_noise": None if table.seed_noise is None else dataclasses.asdict(table.seed_noise),
        **plain(dataclasses.asdict(fit)),
    }
