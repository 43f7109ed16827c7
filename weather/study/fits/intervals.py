"""Intervals for what a fit says, from the scatter of the runs about it or from how far single budgets carry it.

`by_run` takes the runs as independent and the form of the law as right: the fit is repeated on its own losses with
normal noise in ln L, of the standard deviation that the residuals show (parametric bootstrap, Davison & Hinkley 1997,
chapter 4). Residuals drawn anew instead give intervals that are too narrow for robust fits, which pass exactly through
as many runs as they have coefficients. Of a run to come the error of the prediction is repeated, the drawn loss of the
run over what the repeated fit says of it: where refits err upward, the truth lies below the estimate, not above.

`by_budget` lets the runs of a budget err together, as they do where the form of the law is not quite right: the fit is
repeated without each budget in turn (cluster jackknife, advised for few clusters by MacKinnon, Nielsen & Webb 2023,
Journal of Applied Econometrics 38, 671). Budgets drawn with replacement would often leave two different ones or less,
to which nothing can be fitted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from weather.errors import DataError, WeatherError
from weather.study.fits.laws import Array
from weather.study.fits.observations import Observations

Quantities = Mapping[str, float]
Evaluate = Callable[[Observations], Quantities]
FEWEST_BUDGETS = 3  # for intervals by budget
FEWEST_FITS = 0.8  # share of the repeated fits that must succeed for an interval to mean what it says


@dataclass(frozen=True)
class Interval:
    """An estimate between two bounds that hold the truth with probability `level`."""

    estimate: float
    low: float
    high: float
    level: float

    @property
    def width(self) -> float:
        """Upper over lower bound."""
        return self.high / self.low if self.low > 0 else float("inf")


def noise_of(runs: Observations, fitted: Array, coefficients: int, *, cautious: bool = True) -> float:
    """Standard deviation of ln L about a fit that chose so many coefficients.

    Args:
        cautious: larger, by the square root of n / (n - p), than on average right: for intervals of coefficients.
    """
    free = len(runs) - coefficients
    if free < 1:
        raise DataError(
            f"{len(runs)} runs for {coefficients} coefficients",
            rule="a fit without a run to spare says nothing about its own error",
            fix="add runs, or repeat some with other seeds",
        )
    residuals = np.log(runs.loss / fitted)
    if not cautious:
        return float(np.sqrt((residuals**2).sum() / free))
    # A residual is smaller than its error by 1 - leverage, of which p / n is the mean. Division by n - p is right for
    # the variance on average, but its intervals hold the truth too seldom; by (1 - p / n)^2, as of the jackknife, it
    # errs to the safe side (HC3 of MacKinnon & White 1985, Journal of Econometrics 29, 305).
    return float(np.sqrt((residuals**2).mean()) * len(runs) / free)


def by_run(
    runs: Observations,
    fitted: Array,
    coefficients: int,
    evaluate: Evaluate,
    *,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    next_run: tuple[str, ...] = (),
    noise: float | Array | None = None,
    next_noise: float | None = None,
    fitted_once: Callable[[], None] = lambda: None,
) -> dict[str, Interval]:
    """Intervals from the scatter of the runs.

    Args:
        runs: that were fitted.
        fitted: the fit's loss of each run, shape [run].
        coefficients: how many numbers the fit has chosen.
        evaluate: fits runs and gives the quantities of interest, all positive: intervals are formed in logarithms.
        level: of the intervals.
        draws: number of repeated fits.
        seed: of the random numbers.
        next_run: quantities that are the loss of one run to come, which brings noise of its own.
        noise: standard deviation of ln L of a run, or of each, shape [run]; None: that of the residuals.
        next_noise: of the run to come; None: the largest of these.
        fitted_once: called after each repeated fit.

    Raises:
        DataError: no run is to spare, a quantity is not positive, or too many of the repeated fits fail.
    """
    noise = noise_of(runs, fitted, coefficients) if noise is None else noise
    next_noise = float(np.max(noise)) if next_noise is None else next_noise
    random = np.random.default_rng(seed)
    estimate = _positive(evaluate(runs))
    deviations = []
    for _ in range(draws):
        drawn = runs.with_loss(fitted * np.exp(random.normal(0.0, noise, len(runs))))
        coming = random.normal(0.0, next_noise)
        found = _ratios(estimate, drawn, evaluate)
        fitted_once()
        if found is not None:
            deviations.append([coming - x if name in next_run else x for name, x in zip(estimate, found, strict=True)])
    if len(deviations) < FEWEST_FITS * draws:
        raise DataError(
            f"{draws - len(deviations)} of {draws} repeated fits failed",
            rule="the runs do not determine the fit",
            fix="add sizes on both sides of the minima, or more budgets",
        )
    tails = [(1 - level) / 2, (1 + level) / 2]
    bounds = np.quantile(np.array(deviations), tails, axis=0, method="weibull")
    # The standard deviation is an estimate itself: as far out as Student's t is beyond the normal distribution.
    bounds *= t.ppf(tails[1], len(runs) - coefficients) / norm.ppf(tails[1])
    return _intervals(estimate, bounds[0], bounds[1], level)


def counting(total: int, done: Callable[[int, int], None]) -> Callable[[], None]:
    """What tells `done`, each time that it is called, how many of so many repeated fits are made."""
    numbers = itertools.count(1)
    return lambda: done(next(numbers), total)


def by_budget(
    runs: Observations,
    evaluate: Evaluate,
    *,
    level: float = 0.9,
    noise: float = 0.0,
    next_run: tuple[str, ...] = (),
) -> dict[str, Interval]:
    """Intervals from how far the fit moves without one of the budgets.

    Args:
        runs, evaluate, level, next_run: as in `by_run`.
        noise: standard deviation of ln L of a single run, for `next_run`.

    Raises:
        DataError: fewer than three budgets, a quantity is not positive, or the fit fails without one of them.
    """
    budgets = runs.budgets()
    if len(budgets) < FEWEST_BUDGETS:
        raise DataError(f"{len(budgets)} budgets", rule="intervals by budget need three at least")
    estimate = _positive(evaluate(runs))
    deviations = []
    for left_out in budgets:
        found = _ratios(estimate, runs.take(np.setdiff1d(np.arange(len(runs)), left_out)), evaluate)
        if found is None:
            raise DataError(
                f"the fit fails without the budget of {np.median(runs.flops[left_out]):.3g} FLOPs",
                fix="add budgets: the law hangs on this one",
            )
        deviations.append(found)
    count = len(budgets)
    variance = (count - 1) / count * (np.array(deviations) ** 2).sum(axis=0)
    variance += [noise**2 if name in next_run else 0.0 for name in estimate]
    half = t.ppf((1 + level) / 2, count - 1) * np.sqrt(variance)
    return _intervals(estimate, -half, half, level)


def _ratios(estimate: Quantities, runs: Observations, evaluate: Evaluate) -> Array | None:
    """ln of each quantity over its estimate; None where the fit fails, or gives what has no logarithm."""
    try:
        found = evaluate(runs)
    except WeatherError:
        return None
    ratios = np.array([found[name] / value for name, value in estimate.items()])
    return np.log(ratios) if np.all(np.isfinite(ratios) & (ratios > 0)) else None


def _positive(estimate: Quantities) -> Quantities:
    """The estimate, if intervals can be formed in its logarithms.

    Raises:
        DataError: a quantity is not positive.
    """
    for name, value in estimate.items():
        if not (np.isfinite(value) and value > 0):
            raise DataError(f"{name} is {value:.3g}", rule="an interval is formed in logarithms: it must be positive")
    return estimate


def _intervals(estimate: Quantities, low: Array, high: Array, level: float) -> dict[str, Interval]:
    with np.errstate(over="ignore"):  # an endless interval is an answer: nothing is known
        return {
            name: Interval(value, float(value * np.exp(below)), float(value * np.exp(above)), level)
            for (name, value), below, above in zip(estimate.items(), low, high, strict=True)
        }
