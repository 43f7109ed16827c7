"""What the laws say of a run to come, with an interval that holds its loss as often as it says.

The loss of a single run is foretold: its own noise is part of the interval. Both fits of L(N, D) are asked, each with
intervals by run and by budget (`intervals`). Which of their errors is the larger is not known beforehand, so a fit's
interval is the wider of its two, and the answer reaches from the lowest to the highest of both fits. Such a union holds
the truth at least as often as its level says if one of its parts does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weather.errors import DataError, WeatherError
from weather.study.fits.fit import FITS, VANISHED, seen_once
from weather.study.fits.intervals import Interval, by_budget, by_run, counting
from weather.study.fits.laws import Array, LossLaw, Optimum, RepeatedDataLaw
from weather.study.fits.observations import REPEATED, Observations
from weather.study.fits.repeated import (
    FEWEST_REPEATED,
    LAW_COEFFICIENTS,
    REPETITION_COEFFICIENTS,
    expected_loss,
    fit_repeated,
    noise_of_kinds,
)

Law = LossLaw | RepeatedDataLaw
QUANTITIES = ("parameters", "samples", "loss")


@dataclass(frozen=True)
class RunAhead:
    """A run to come.

    Attributes:
        flops: C.
        parameters, samples: N and D; None: the best use of the budget.
        unique: U, different samples that there are for it; None: enough.
        most_epochs: so often they count as new.
    """

    flops: float
    parameters: float | None = None
    samples: float | None = None
    unique: float | None = None
    most_epochs: float = 1.0

    def repeats(self, samples: float) -> bool:
        """Whether so many samples are more than the different ones."""
        return self.unique is not None and samples > self.unique * max(1 + REPEATED, self.most_epochs)


@dataclass(frozen=True)
class Foretold:
    """The answer.

    Attributes:
        parameters, samples: of the run; without width where they were given.
        loss: of the run; its estimate is the geometric mean of the fits'.
        by_fit: the interval of the loss by each fit.
        laws: the fits.
        noise: standard deviation of ln L of a single run, the larger of the fits'.
        remarks: on what the answer rests, where that is less than usual.
    """

    parameters: Interval
    samples: Interval
    loss: Interval
    by_fit: dict[str, Interval]
    laws: dict[str, Law]
    noise: float
    remarks: tuple[str, ...]


def foretell(
    runs: Observations,
    ahead: RunAhead,
    *,
    level: float,
    draws: int,
    seed: int,
    seed_noise: float = 0.0,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> Foretold:
    """Fit runs and foretell one.

    Args:
        runs: that were trained to their end.
        level, draws, seed, seed_noise, done: as in `fit_study`.

    Raises:
        DataError: neither fit is possible.
    """
    repeating = int((~runs.once).sum())
    with_repeats = repeating >= FEWEST_REPEATED
    remarks = _range_remarks(runs, ahead)
    fitted_runs = runs if with_repeats else seen_once(runs)
    counted = counting(draws * len(FITS), done)
    found: dict[str, dict[str, Interval]] = {}
    laws: dict[str, Law] = {}
    noises: dict[str, float] = {}
    for method in FITS:
        try:
            found[method], laws[method], noises[method], said = _foretell(
                *(fitted_runs, ahead, method, counted),
                level=level,
                draws=draws,
                seed=seed,
                seed_noise=seed_noise,
            )
            remarks += [f"{method}: {text}" for text in said]
        except WeatherError as error:
            remarks.append(f"{method}: not fitted: {error}")
    if not found:
        raise DataError("neither fit of L(N, D) is possible", where="; ".join(remarks))
    union = {name: _union([intervals[name] for intervals in found.values()]) for name in QUANTITIES}
    for name, given in (("parameters", ahead.parameters), ("samples", ahead.samples)):
        if given is not None:
            union[name] = Interval(given, given, given, level)
    if ahead.unique is not None and ahead.repeats(union["samples"].estimate) and not with_repeats:
        remarks.append(
            f"the run repeats its data ({union['samples'].estimate / ahead.unique:.3g} epochs) and no fitted runs show "
            "what that costs: its loss will lie above what is said here by an unknown amount"
        )
    by_fit = {method: intervals["loss"] for method, intervals in found.items()}
    return Foretold(
        union["parameters"], union["samples"], union["loss"], by_fit, laws, max(noises.values()), tuple(remarks)
    )


def _foretell(
    runs: Observations,
    ahead: RunAhead,
    method: str,
    counted: Callable[[], None],
    *,
    level: float,
    draws: int,
    seed: int,
    seed_noise: float,
) -> tuple[dict[str, Interval], Law, float, list[str]]:
    """Interval of each quantity by one fit, the fit, its noise, and what is to be said of it."""
    law, k = _fit(runs, method, None), runs.flops_per_product

    def evaluate(drawn: Observations) -> dict[str, float]:
        point = _point(_fit(drawn, method, law), ahead, k)
        return {name: max(value, VANISHED) for name, value in dataclasses.asdict(point).items()}

    coefficients = LAW_COEFFICIENTS + (0 if isinstance(law, LossLaw) else REPETITION_COEFFICIENTS)
    fitted = _loss(law, runs.parameters, runs.samples, runs.unique)
    noise = noise_of_kinds(runs, fitted, seed_noise)
    repeats = ahead.repeats(_point(law, ahead, k).samples)
    # Of its kind: repeated data scatter more.
    own = float(noise.max() if repeats else noise[runs.once][0])
    intervals = by_run(
        *(runs, fitted, coefficients, evaluate),
        level=level,
        draws=draws,
        seed=seed,
        next_run=("loss",),
        noise=noise,
        next_noise=own,
        fitted_once=counted,
    )
    said = []
    try:
        wide = by_budget(runs, evaluate, level=level, noise=own, next_run=("loss",))
        intervals = {name: max(intervals[name], wide[name], key=lambda i: i.high / i.low) for name in QUANTITIES}
    except DataError as error:
        said.append(f"its interval is by run only: {error}")
    return intervals, law, own, said


def _fit(runs: Observations, method: str, start: Law | None) -> Law:
    once = start.law if isinstance(start, RepeatedDataLaw) else start
    law = FITS[method](seen_once(runs), once).law
    if runs.once.all():
        return law
    return fit_repeated(runs, law, start if isinstance(start, RepeatedDataLaw) else None).law


def _point(law: Law, ahead: RunAhead, k: float) -> Optimum:
    once = law if isinstance(law, LossLaw) else law.law
    if ahead.parameters is not None and ahead.samples is not None:
        if isinstance(law, LossLaw) or ahead.unique is None or not ahead.repeats(ahead.samples):
            return Optimum(ahead.parameters, ahead.samples, float(once.loss(ahead.parameters, ahead.samples)))
        loss = float(law.loss(ahead.parameters, ahead.samples, ahead.unique))
        return Optimum(ahead.parameters, ahead.samples, loss)
    best = once.optimum(ahead.flops, k)
    if isinstance(law, LossLaw) or ahead.unique is None or not ahead.repeats(best.samples):
        return best
    return law.optimum(ahead.flops, k, ahead.unique)


def _loss(law: Law, parameters: Array, samples: Array, unique: Array) -> Array:
    if isinstance(law, LossLaw):
        return law.loss(parameters, samples)
    return expected_loss(law, parameters, samples, unique)


def _union(intervals: list[Interval]) -> Interval:
    return Interval(
        float(np.exp(np.mean([np.log(each.estimate) for each in intervals]))),
        min(each.low for each in intervals),
        max(each.high for each in intervals),
        intervals[0].level,
    )


def _range_remarks(runs: Observations, ahead: RunAhead) -> list[str]:
    """How far the run lies beyond those that were fitted."""
    remarks = []
    for what, value, values in (
        ("C", ahead.flops, runs.flops),
        ("N", ahead.parameters, runs.parameters),
        ("D", ahead.samples, runs.samples),
    ):
        if value is not None and value > values.max():
            remarks.append(f"{what} is {value / values.max():.3g} times the largest that was fitted")
        elif value is not None and value < values.min():
            remarks.append(f"{what} is {value / values.min():.3g} of the least that was fitted")
    return remarks
