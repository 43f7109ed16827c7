"""What was fitted, in words for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from weather.study.fits.fit import LawFit, StudyFit
from weather.study.fits.intervals import Interval
from weather.study.fits.isoflop import IsoFlopFit
from weather.study.results.table import Table

METHODS = {"huber": "Huber loss of ln L", "projection": "least squares in L, variable projection"}
MOST_NAMES = 5
SYMBOLS = {
    "irreducible": "E",
    "model_coefficient": "A",
    "data_coefficient": "B",
    "model_exponent": "alpha",
    "data_exponent": "beta",
    "parameter_exponent": "a in N_opt ~ C^a",
}


def fit_lines(table: Table, fit: StudyFit) -> Iterator[str]:
    """The report, line by line."""
    runs = table.runs
    yield f"{len(runs)} runs, {len(runs.budgets())} budgets, {runs.flops.min():.3g} to {runs.flops.max():.3g} FLOPs"
    yield f"C = {runs.flops_per_product:.4g} N D (median)"
    for reason, names in _by_reason(table.left_out).items():
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        yield f"left out: {', '.join(names[:MOST_NAMES])}{more}: {reason}"
    yield from (f"note: {remark}" for remark in table.remarks)
    if fit.isoflops is not None:
        yield from _isoflop_lines(fit.isoflops, fit.isoflop_exponent)
    for method, law in fit.laws.items():
        yield from _law_lines(METHODS[method], law)
    if fit.compute is not None:
        yield ""
        yield f"L_opt(C), power law with or without an irreducible part: {fit.compute.verdict}."
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


def _law_lines(method: str, fit: LawFit) -> Iterator[str]:
    yield ""
    yield f"L(N, D) = E + A / N^alpha + B / D^beta, {method}; a run lies {fit.noise:.2%} about it"
    level = next(iter(fit.by_run.values())).level
    yield f"  {'':18} {'estimate':>10}  {f'{level:.0%} by run':>25}  {f'{level:.0%} by budget':>25}"
    for name, interval in fit.by_run.items():
        wide = "" if fit.by_budget is None else _between(fit.by_budget[name])
        yield f"  {SYMBOLS[name]:18} {interval.estimate:10.4g}  {_between(interval):>25}  {wide:>25}".rstrip()
    if fit.next_run is not None:
        coming = fit.next_run
        yield f"  next run of {coming.flops:.3g} FLOPs (the wider of the two intervals)"
        for name, interval in (("N", coming.parameters), ("D", coming.samples), ("loss", coming.loss)):
            yield f"    {name:5} {interval.estimate:.5g}, {_between(interval)}"


def _between(interval: Interval) -> str:
    return f"{interval.low:.4g} to {interval.high:.4g}"


def fit_json(table: Table, fit: StudyFit) -> dict[str, Any]:
    """The same for programs."""
    return {
        "runs": len(table.runs),
        "left_out": dict(table.left_out),
        "remarks": list(table.remarks),
        **_plain(dataclasses.asdict(fit)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
