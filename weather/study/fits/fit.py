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
from weather.study.fits.forms import LEFT_OUT, compare_forms
from weather.study.fits.intervals import Interval, by_budget, by_run, counting, noise_of
from weather.study.fits.isoflop import IsoFlopFit, fit_isoflops, fit_power_law
from weather.study.fits.laws import Array, LossLaw, RepeatedDataLaw
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import ParametricFit, fit_huber, fit_projection
from weather.study.fits.repeated import (
    LAW_COEFFICIENTS,
    LEAST,
    MOST,
    REPETITION_COEFFICIENTS,
    expected_loss,
    fit_repeated,
    noise_of_kinds,
)
from weather.study.fits.structure import STRUCTURE, chance_of_structure

VANISHED = 1e-12
FITS = {"huber": fit_huber, "projection": fit_projection}


@dataclass(frozen=True)
class NextRun:
    """What a law says of the best run of a budget; the loss interval holds the loss of one run.

    Intervals are by run, or the wider of by run and by budget where whole budgets lie off the law together.
    """

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
class RepeatedLawFit:
    """L(N, D, U), fitted to all runs upon the Huber law of those that see their data once.

    Attributes:
        repeating: how many runs repeat their data.
        noise: standard deviation of ln L, about the law, of a run that repeats its data.
        by_run, by_budget: intervals of the two constants, the law of data seen once fitted anew each time.
        flaw: a constant that the runs do not bound; empty if they bound both.
    """

    law: RepeatedDataLaw
    repeating: int
    noise: float
    by_run: dict[str, Interval]
    by_budget: dict[str, Interval] | None
    flaw: str


@dataclass(frozen=True)
class StudyFit:
    """All that was fitted; None, and a word in `refused`, where a fit was not possible.

    All but `repeated` is of the runs that see their data once.
    """

    isoflops: IsoFlopFit | None
    isoflop_exponent: Interval | None
    laws: dict[str, LawFit]
    compute: Comparison | None
    refused: dict[str, str]
    forms: Comparison | None = None
    repeated: RepeatedLawFit | None = None


def fit_study(
    runs: Observations,
    *,
    flops: float | None,
    level: float,
    draws: int,
    seed: int,
    seed_noise: float = 0.0,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> StudyFit:
    """Fit everything that the runs allow.

    Args:
        runs: that were trained to their end.
        flops: budget of a next run to predict; None: none.
        level: of the intervals.
        draws: repeated fits for each interval.
        seed: of the random numbers.
        seed_noise: standard deviation of ln L between repeats, below which no scatter is believed; 0: not known.
        done: told after each repeated fit how many of how many are done.

    Raises:
        DataError: every run repeats its data.
    """
    once = seen_once(runs)
    refused = dict[str, str]()

    def attempt(name: str, fit: Callable[[], Any]) -> Any:
        try:
            return fit()
        except WeatherError as error:
            refused[name] = str(error)
            return None

    repeated_fits = draws * (len(FITS) + (len(once) < len(runs)))
    options = {"level": level, "draws": draws, "seed": seed, "fitted_once": counting(repeated_fits, done)}
    isoflops = attempt("isoflops", lambda: fit_isoflops(once))
    exponent = attempt("isoflop intervals", lambda: _isoflop_exponent(once, level)) if isoflops else None
    laws: dict[str, LawFit] = {}
    for name in FITS:
        found = attempt(name, functools.partial(_fit_law, once, name, flops, seed_noise, options))
        if found is not None:
            laws[name] = found
    compute = attempt("compute", lambda: _compare_compute(isoflops, seed_noise)) if isoflops else None
    forms = attempt("forms", lambda: compare_forms(once, seed_noise)) if laws else None
    repeats = len(once) < len(runs) and "huber" in laws
    repeated = (
        attempt("repeated", lambda: _fit_repeated(runs, laws["huber"].law, seed_noise, options)) if repeats else None
    )
    return StudyFit(isoflops, exponent, laws, compute, refused, forms, repeated)


def seen_once(runs: Observations) -> Observations:
    """The runs that see their data once.

    Raises:
        DataError: none does.
    """
    if not runs.once.any():
        raise DataError(
            "the data repeat in every run (D > U)",
            rule="the law of data seen once comes first",
            fix="add shorter runs, or let a few epochs count as new data (--most_epochs 4)",
        )
    return runs.take(np.flatnonzero(runs.once))


def _isoflop_exponent(runs: Observations, level: float) -> Interval:
    """Of N_opt ~ C^a: parabolas are fitted to a budget each, so that only whole budgets can be left out."""
    return by_budget(runs, lambda left: {"exponent": fit_isoflops(left).parameters.exponent}, level=level)["exponent"]


def _fit_law(
    runs: Observations, method: str, flops: float | None, seed_noise: float, options: dict[str, Any]
) -> LawFit:
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
    noise = max(noise_of(runs, fitted, LAW_COEFFICIENTS), seed_noise)
    intervals = by_run(runs, fitted, LAW_COEFFICIENTS, evaluate, next_run=("next loss",), noise=noise, **options)
    wide: dict[str, Interval] | None
    try:
        wide = by_budget(runs, evaluate, level=options["level"], noise=noise, next_run=("next loss",))
    except DataError:
        wide = None
    coming = None
    if flops is not None:
        structured = wide is not None and chance_of_structure(runs, found.law) < STRUCTURE
        sources = [intervals, wide] if wide is not None and structured else [intervals]
        cautious = {
            name: max((source[name] for source in sources), key=lambda each: each.width)
            for name in ("next parameters", "next samples", "next loss")
        }
        coming = NextRun(flops, *cautious.values())
    kept = {name: value for name, value in intervals.items() if not name.startswith("next ")}
    kept_wide = wide and {name: value for name, value in wide.items() if not name.startswith("next ")}
    return LawFit(found.law, noise, kept, kept_wide, coming)


def _fit_repeated(runs: Observations, once: LossLaw, seed_noise: float, options: dict[str, Any]) -> RepeatedLawFit:
    found = fit_repeated(runs, once)

    def evaluate(drawn: Observations) -> dict[str, float]:
        law = fit_repeated(drawn, fit_huber(seen_once(drawn), once).law, found.law).law
        return {"data_repetitions": law.data_repetitions, "model_excess": law.model_excess}

    fitted = expected_loss(found.law, runs.parameters, runs.samples, runs.unique)
    noise = noise_of_kinds(runs, fitted, seed_noise)
    coefficients = LAW_COEFFICIENTS + REPETITION_COEFFICIENTS
    intervals = by_run(runs, fitted, coefficients, evaluate, noise=noise, **options)
    wide: dict[str, Interval] | None
    try:
        wide = by_budget(runs, evaluate, level=options["level"])
    except DataError:
        wide = None
    loose = [name for name, interval in intervals.items() if interval.low < 2 * LEAST or interval.high > MOST / 2]
    flaw = found.flaw or (f"the runs do not bound {' and '.join(loose)}" if loose else "")
    repeating = int((~runs.once).sum())
    return RepeatedLawFit(found.law, repeating, float(noise[~runs.once][0]), intervals, wide, flaw)


def _compare_compute(isoflops: IsoFlopFit, seed_noise: float) -> Comparison:
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
    residuals = {form: (fit.residuals, fit.coefficients) for form, fit in fits.items()}
    return compare(residuals, tests, max(noise, seed_noise))
