"""How the error of each channel at each lead scales, and where the pooled loss leads it to a wrong size.

The pooled loss hides that channels and leads scale unlike one another: it "can look favorable while many channels
degrade at late leads" (Kiefer, Balaprakash & Wang 2026, arXiv 2604.05068, abstract). So each channel at each lead gets
the fits that the loss gets. What is fitted is the mean squared error, which is what a squared loss is made of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from scipy.stats import linregress, t

from weather.errors import DataError, WeatherError
from weather.study.fits.intervals import Interval, Quantities, by_budget
from weather.study.fits.isoflop import fit_isoflops
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations
from weather.study.fits.pooled_choice import (
    PooledChoice,
    SeenChoice,
    determined_law,
    pooled_choice,
    scatter_of,
    seen_choice,
)

Result = TypeVar("Result")

FEWEST_BUDGETS = 3  # for an interval of a slope


@dataclass(frozen=True)
class ChannelErrors:
    """What is fitted.

    Attributes:
        runs: of the pooled fit, with the pooled loss.
        channels: names; units: of their errors; leads: hours.
        squared: mean squared error [run, channel, lead] in the squared unit; NaN where a run was not verified,
            infinite where its forecasts blew up.
    """

    runs: Observations
    channels: tuple[str, ...]
    units: tuple[str, ...]
    leads: tuple[float, ...]
    squared: Array


@dataclass(frozen=True)
class ChannelFit:
    """One channel at one lead; None, and a word in `refused`, where a fit was not possible.

    Attributes:
        lead_hours: None of the pooled loss.
        runs: fitted; blown_up: left out because their error is not finite; not_verified: left out without an error.
        compute_exponent: g of L_opt ~ C^g through the best run of each budget, with Student's t interval.
        law: L(N, D) by variable projection; scatter: root mean square of ln L about it.
        exponents: intervals by budget of `model_exponent`, `data_exponent` and `parameter_exponent`, and of
            `irreducible` in the squared unit.
        isoflop_exponent: of N_opt ~ C^a through the IsoFLOP minima.
    """

    channel: str
    lead_hours: float | None
    runs: int
    blown_up: int
    not_verified: int
    compute_exponent: Interval | None = None
    law: LossLaw | None = None
    scatter: float | None = None
    exponents: dict[str, Interval] = field(default_factory=dict)
    isoflop_exponent: Interval | None = None
    pooled: PooledChoice | None = None
    seen: SeenChoice | None = None
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def falls(self) -> bool | None:
        """Whether the error is shown to fall with compute; None where nothing can be said."""
        return None if self.compute_exponent is None else self.compute_exponent.high < 0


@dataclass(frozen=True)
class ChannelScaling:
    """All channels and leads beside the pooled loss.

    Attributes:
        flops: the budget of `ChannelFit.pooled`; level: of all intervals.
        pooled: the pooled loss itself, as a channel called `pooled loss`.
        fits: of each channel, leads rising.
    """

    flops: float
    level: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    leads: tuple[float, ...]
    pooled: ChannelFit
    fits: tuple[ChannelFit, ...]


def fit_channels(
    errors: ChannelErrors,
    *,
    flops: float | None = None,
    level: float = 0.9,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> ChannelScaling:
    """Fit every channel at every lead.

    Args:
        flops: budget of the comparison with the pooled loss; None: the largest that was trained.
        level: of the intervals.
        done: told after each fit how many of how many are done.
    """
    runs = errors.runs
    budget = float(np.median(runs.flops[runs.budgets()[-1]])) if flops is None else flops
    cells = [(channel, lead) for channel in range(len(errors.channels)) for lead in range(len(errors.leads))]
    fits = []
    # Bounds of an interval may be beyond all numbers.
    with np.errstate(over="ignore", divide="ignore"):
        pooled = _fit("pooled loss", None, runs, runs.loss, None, level)
        for channel, lead in cells:
            squared = errors.squared[:, channel, lead]
            fits.append(_fit(errors.channels[channel], errors.leads[lead], runs, squared, budget, level))
            done(len(fits), len(cells))
    return ChannelScaling(budget, level, errors.channels, errors.units, errors.leads, pooled, tuple(fits))


def _fit(
    channel: str, hours: float | None, every: Observations, squared: Array, budget: float | None, level: float
) -> ChannelFit:
    good = np.flatnonzero(np.isfinite(squared) & (squared > 0))
    refused = dict[str, str]()
    counts = (len(good), int(np.isinf(squared).sum()), int(np.isnan(squared).sum()))
    if not counts[0]:
        return ChannelFit(channel, hours, *counts, refused={"all": "no run has an error that could be fitted"})
    # The same runs for both, so that a run that is missing here moves both optima.
    pooled = every.take(good)
    unit = float(np.exp(np.log(squared[good]).mean()))
    runs = pooled.with_loss(squared[good] / unit)

    def attempt(what: str, fit: Callable[[], Result]) -> Result | None:
        try:
            return fit()
        except WeatherError as error:
            refused[what] = str(error)
            return None

    fits: dict[str, Any] = {
        "compute_exponent": attempt("compute exponent", lambda: compute_exponent(runs, level)),
        "isoflop_exponent": attempt("isoflop exponent", lambda: _isoflop_exponent(runs, level)),
    }
    law = attempt("law", lambda: determined_law(runs))
    if law is not None:
        fits["law"] = _in_units(law, unit)
        fits["scatter"] = scatter_of(law, runs)
        intervals = attempt("intervals", lambda: by_budget(runs, lambda left: _exponents(left, law), level=level))
        if intervals is not None:
            fits["exponents"] = {**intervals, "irreducible": _scaled(_linear(intervals["irreducible"]), unit)}
    if budget is not None:
        fits["seen"] = attempt("choice among the runs", lambda: seen_choice(runs, pooled, budget))
        if law is not None:
            choice = attempt("pooled choice", lambda: pooled_choice(runs, pooled, law, budget, level))
            fits["pooled"] = None if choice is None else choice.scaled(unit)
    return ChannelFit(channel, hours, *counts, **fits, refused=refused)


def compute_exponent(runs: Observations, level: float) -> Interval:
    """g of L ~ C^g through the best run of each budget, by least squares in logarithms with Student's t interval.

    Raises:
        DataError: fewer than three budgets.
    """
    budgets = runs.budgets()
    if len(budgets) < FEWEST_BUDGETS:
        raise DataError(f"{len(budgets)} budgets", rule=f"the interval of a slope needs {FEWEST_BUDGETS}")
    flops = [float(np.median(runs.flops[index])) for index in budgets]
    line = linregress(np.log(flops), np.log([runs.loss[index].min() for index in budgets]))
    half = float(t.ppf((1 + level) / 2, len(budgets) - 2) * line.stderr)
    return Interval(float(line.slope), float(line.slope) - half, float(line.slope) + half, level)


def _isoflop_exponent(runs: Observations, level: float) -> Interval:
    # It may be negative, and intervals by budget are formed in logarithms.
    def evaluate(left: Observations) -> Quantities:
        return {"exponent": math.exp(fit_isoflops(left).parameters.exponent)}

    return _linear(by_budget(runs, evaluate, level=level)["exponent"])


def _exponents(left: Observations, start: LossLaw) -> Quantities:
    law = determined_law(left, start)
    return {
        "model_exponent": law.model_exponent,
        "data_exponent": law.data_exponent,
        "parameter_exponent": law.parameter_exponent,
        "irreducible": math.exp(law.irreducible),  # may be 0
    }


def _linear(interval: Interval) -> Interval:
    """Of x, from the interval of exp(x)."""
    estimate, low, high = np.log([interval.estimate, interval.low, interval.high]).tolist()
    return Interval(estimate, low, high, interval.level)


def _scaled(interval: Interval, unit: float) -> Interval:
    return Interval(interval.estimate * unit, max(0.0, interval.low * unit), interval.high * unit, interval.level)


def _in_units(law: LossLaw, unit: float) -> LossLaw:
    return LossLaw(
        law.irreducible * unit,
        law.model_coefficient * unit,
        law.data_coefficient * unit,
        law.model_exponent,
        law.data_exponent,
    )
