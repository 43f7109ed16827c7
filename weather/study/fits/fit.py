"""Fits all forms to runs, with intervals, and says what can be concluded."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from weather.errors import DataError, WeatherError
from weather.study.fits.comparison import Comparison, back_test, compare
from weather.study.fits.compute import fit_compute
from weather.study.fits.intervals import Interval, by_budget, by_run, noise_of
from weather.study.fits.isoflop import IsoFlopFit, fit_isoflops, fit_power_law
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import ParametricFit, fit_huber, fit_projection

LAW_COEFFICIENTS = 5
CURVE_COEFFICIENTS = 3
VANISHED = 1e-12
LEFT_OUT = 1  # largest budgets of the back-test: with more, few studies would keep enough to fit
FITS = {"huber": fit_huber, "projection": fit_projection}


@dataclass(frozen=True)
class NextRun:
    """What a law says of the best run of a budget; the loss interval holds the loss of one run."""

    flops: float
    parameters: Interval
    samples: Interval
    loss: Interval


@dataclass(frozen=True)
class LawFit:
    """L(N, D) by one method.

    Attributes:
        noise: standard deviation of ln L of a run about the law.
        by_run, by_budget: intervals of the coefficients and of N_opt ~ C^a; by budget None where they cannot be had.
        next_run: of the budget that was asked for.
    """

    law: LossLaw
    noise: float
    by_run: dict[str, Interval]
    by_budget: dict[str, Interval] | None
    next_run: NextRun | None


@dataclass(frozen=True)
class StudyFit:
    """All that was fitted; None, and a word in `refused`, where a fit was not possible."""

    isoflops: IsoFlopFit | None
    isoflop_exponent: Interval | None
    laws: dict[str, LawFit]
    compute: Comparison | None
    refused: dict[str, str]


def fit_study(runs: Observations, *, flops: float | None, level: float, draws: int, seed: int) -> StudyFit:
    """Fit everything that the runs allow.

    Args:
        runs: that were trained to their end on data seen once.
        flops: budget of a next run to predict; None: none.
        level: of the intervals.
        draws: repeated fits for each interval.
        seed: of the random numbers.
    """
    refused = dict[str, str]()

    def attempt(name: str, fit: Callable[[], Any]) -> Any:
        try:
            return fit()
        except WeatherError as error:
            refused[name] = str(error)
            return None

    options = {"level": level, "draws": draws, "seed": seed}
    isoflops = attempt("isoflops", lambda: fit_isoflops(runs))
    exponent = attempt("isoflop intervals", lambda: _isoflop_exponent(runs, level)) if isoflops else None
    laws = {}
    for name in FITS:
        found = attempt(name, functools.partial(_fit_law, runs, name, flops, options))
        if found is not None:
            laws[name] = found
    compute = attempt("compute", lambda: _compare_compute(isoflops)) if isoflops else None
    return StudyFit(isoflops, exponent, laws, compute, refused)


def _isoflop_exponent(runs: Observations, level: float) -> Interval:
    """Of N_opt ~ C^a: parabolas are fitted to a budget each, so that only whole budgets can be left out."""
    return by_budget(runs, lambda left: {"exponent": fit_isoflops(left).parameters.exponent}, level=level)["exponent"]


def _fit_law(runs: Observations, method: str, flops: float | None, options: dict[str, Any]) -> LawFit:
    fit = FITS[method]
    found: ParametricFit = fit(runs)
    found.law.check_falls()
    k = runs.flops_per_product

    def evaluate(drawn: Observations) -> dict[str, float]:
        law = fit(drawn, found.law).law
        if min(law.model_exponent, law.data_exponent) <= 0:
            law.check_falls()
        quantities = {**dataclasses.asdict(law), "parameter_exponent": law.parameter_exponent}
        # A term may vanish in a fit; intervals are formed in logarithms.
        quantities = {name: max(value, VANISHED) for name, value in quantities.items()}
        if flops is not None:
            best = law.optimum(flops, k)
            quantities |= {f"next {name}": value for name, value in dataclasses.asdict(best).items()}
        return quantities

    fitted = found.law.loss(runs.parameters, runs.samples)
    noise = noise_of(runs, fitted, LAW_COEFFICIENTS)
    intervals = by_run(runs, fitted, LAW_COEFFICIENTS, evaluate, next_run=("next loss",), **options)
    wide: dict[str, Interval] | None
    try:
        wide = by_budget(runs, evaluate, level=options["level"], noise=noise, next_run=("next loss",))
    except DataError:
        wide = None
    coming = None
    if flops is not None:
        # The more cautious of the two: which errors are the larger is not known.
        cautious = {
            name: max((source[name] for source in (intervals, wide or intervals)), key=lambda each: each.width)
            for name in ("next parameters", "next samples", "next loss")
        }
        coming = NextRun(flops, *cautious.values())
    kept = {name: value for name, value in intervals.items() if not name.startswith("next ")}
    kept_wide = wide and {name: value for name, value in wide.items() if not name.startswith("next ")}
    return LawFit(found.law, noise, kept, kept_wide, coming)


def _compare_compute(isoflops: IsoFlopFit) -> Comparison:
    """L_opt(C) with and without an irreducible part, through the minima of the curves."""
    good = [curve for curve in isoflops.curves if curve.optimum is not None and not curve.flaw]
    flops = np.array([curve.flops for curve in good])
    loss = np.array([curve.optimum.loss for curve in good if curve.optimum is not None])
    optima = Observations(loss, loss, flops, loss, loss)  # only C and L matter here
    if len(flops) > 1 and fit_power_law(flops, loss).exponent >= 0:
        raise DataError(
            "the least loss does not fall with C",
            rule="more compute, well used, gives a lower loss",
            fix="look for larger runs that diverged, were cut short or had a poor learning rate",
        )
    forms = {"power law": False, "power law with offset": True}
    fits = {form: fit_compute(flops, loss, offset=offset) for form, offset in forms.items()}

    def foretell(offset: bool) -> Callable[[Observations], Callable[[Observations], Array]]:
        def fit(kept: Observations) -> Callable[[Observations], Array]:
            law = fit_compute(kept.flops, kept.loss, offset=offset).law
            return lambda unseen: law(unseen.flops)

        return fit

    tests = {
        form: lambda offset=offset: back_test(optima, foretell(offset), LEFT_OUT)  # type: ignore[misc]
        for form, offset in forms.items()
    }
    noise = min(float(np.sqrt((fit.residuals**2).mean())) for fit in fits.values())
    return compare({form: (fit.residuals, fit.coefficients) for form, fit in fits.items()}, tests, noise)
