"""The fits behind the figures: laws, the bands about them, and how they foretell the largest budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weather.errors import WeatherError
from weather.study.fits.comparison import BackTest, back_test
from weather.study.fits.compute import ComputeFit, fit_compute
from weather.study.fits.fit import FITS, LAW_COEFFICIENTS, StudyFit, fit_study, seen_once
from weather.study.fits.forms import LEFT_OUT
from weather.study.fits.intervals import Interval, by_run
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations
from weather.study.results.table import Table

AHEAD = 4.0  # the budget to predict where none is given, in units of the largest that was trained
BAND_POINTS = 40  # of a curve
BAND_DRAWS = 100  # repeated fits of a band at most: its edges are seen, not read off
METHOD = "huber"  # the law that figures show; both are in the tables
FORMS = {"power law": False, "power law with offset": True}


@dataclass(frozen=True)
class Band:
    """A curve with an interval about each of its points, all of shape [point]."""

    x: Array
    estimate: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Analysis:
    """What was fitted to a table of runs.

    Attributes:
        table: what was collected, what was left out and why.
        runs, names: that see their data once: those that all laws but that of repeated data are fitted to.
        ahead: FLOPs of the run that is predicted.
        law: L(N, D) of the figures; None where it could not be fitted.
        isoflop_bands: loss over N of each budget, by `law`.
        optimum_bands: N, D and loss of the best run over C, by `law`.
        back_tests: of L(N, D) by method, as far as the runs allow it.
        compute: L(C) through the minima of the curves, by form.
    """

    table: Table
    runs: Observations
    names: tuple[str, ...]
    fit: StudyFit
    level: float
    ahead: float
    law: LossLaw | None
    isoflop_bands: tuple[Band, ...]
    optimum_bands: dict[str, Band]
    back_tests: dict[str, BackTest]
    compute: dict[str, ComputeFit]


def analyse(
    table: Table,
    *,
    flops: float | None,
    level: float,
    draws: int,
    seed: int,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> Analysis:
    """Fit all laws to a table of runs.

    Args:
        flops: budget of the run to predict; None: AHEAD times the largest that was trained.
        level, draws, seed, done: as in `fit_study`.

    Raises:
        DataError: every run repeats its data.
    """
    runs = seen_once(table.runs)
    ahead = flops or AHEAD * float(runs.flops.max())
    noise = table.seed_noise.deviation if table.seed_noise else 0.0
    fit = fit_study(table.runs, flops=ahead, level=level, draws=draws, seed=seed, seed_noise=noise, done=done)
    law = fit.laws[METHOD].law if METHOD in fit.laws else None
    curves, optima = _bands(runs, law, ahead, level, min(draws, BAND_DRAWS), seed) if law else ((), {})
    names = tuple(name for name, once in zip(table.names, table.runs.once, strict=True) if once)
    return Analysis(table, runs, names, fit, level, ahead, law, curves, optima, _back_tests(runs), _compute(fit))


def _bands(
    runs: Observations, law: LossLaw, ahead: float, level: float, draws: int, seed: int
) -> tuple[tuple[Band, ...], dict[str, Band]]:
    budgets = runs.budgets()
    k = runs.flops_per_product
    flops = [float(np.median(runs.flops[index])) for index in budgets]
    sizes = [_span(runs.parameters[index], 1.3) for index in budgets]
    compute = np.geomspace(runs.flops.min() / 1.5, max(ahead, runs.flops.max()) * 1.5, BAND_POINTS)

    def evaluate(drawn: Observations) -> dict[str, float]:
        found = FITS[METHOD](drawn, law).law
        values = dict[str, float]()
        for budget, (c, n) in enumerate(zip(flops, sizes, strict=True)):
            loss = found.loss(n, c / (k * n))
            values |= {f"budget {budget} {point}": float(value) for point, value in enumerate(loss)}
        for point, c in enumerate(compute):
            best = found.optimum(float(c), k)
            values |= {f"parameters {point}": best.parameters, f"samples {point}": best.samples}
            values[f"loss {point}"] = best.loss
        return values

    fitted = law.loss(runs.parameters, runs.samples)
    try:
        intervals = by_run(runs, fitted, LAW_COEFFICIENTS, evaluate, level=level, draws=draws, seed=seed)
    except WeatherError:  # the fit itself was refused an interval too, and said why
        return (), {}
    curves = tuple(_band(n, intervals, f"budget {budget}") for budget, n in enumerate(sizes))
    return curves, {name: _band(compute, intervals, name) for name in ("parameters", "samples", "loss")}


def _band(x: Array, intervals: dict[str, Interval], name: str) -> Band:
    points = [intervals[f"{name} {point}"] for point in range(len(x))]
    columns = ([getattr(point, key) for point in points] for key in ("estimate", "low", "high"))
    return Band(x, *(np.array(column) for column in columns))


def _span(values: Array, beyond: float) -> Array:
    return np.geomspace(values.min() / beyond, values.max() * beyond, BAND_POINTS)


def _back_tests(runs: Observations) -> dict[str, BackTest]:
    found = {}
    for method, fit in FITS.items():
        try:
            found[method] = back_test(runs, lambda kept, fit=fit: _loss_of(fit(kept).law), LEFT_OUT)  # type: ignore[misc]
        except WeatherError:  # what is missing is named by the fit of all runs, or there is one budget only
            continue
    return found


def _loss_of(law: LossLaw):  # type: ignore[no-untyped-def]
    return lambda unseen: law.loss(unseen.parameters, unseen.samples)


def _compute(fit: StudyFit) -> dict[str, ComputeFit]:
    if fit.isoflops is None:
        return {}
    best = [(curve.flops, curve.optimum.loss) for curve in fit.isoflops.curves if curve.optimum and not curve.flaw]
    flops, loss = (np.array(column) for column in zip(*best, strict=True))
    found = {}
    for form, offset in FORMS.items():
        try:
            found[form] = fit_compute(flops, loss, offset=offset)
        except WeatherError:
            continue
    return found
