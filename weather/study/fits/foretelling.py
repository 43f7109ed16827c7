"""What the laws say of a run to come, with an interval that holds its loss as often as it says.

The loss of a single run is foretold: its own noise is part of the interval. Its estimate is the geometric mean of both
fits of L(N, D), and both are repeated on the same draws of noise in ln L (`intervals.by_run`), so that the interval is
that of the mean, no union of intervals that each already hold the loss as often as they should. Jackknifed budgets
(`intervals.by_budget`) widen it only where the residuals of whole budgets lie off the law together (`structure`): with
four budgets they allow for a t of three degrees of freedom, and the largest alone moves an extrapolation most, which
makes them useless where the scatter is that of single runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from weather.errors import DataError, WeatherError
from weather.study.fits.fit import FITS, VANISHED, seen_once
from weather.study.fits.intervals import FEWEST_BUDGETS, Interval, by_budget, by_run, counting
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
from weather.study.fits.structure import STRUCTURE, chance_of_structure

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
        loss: of the run, by the geometric mean of the fits.
        by_fit: the same by each fit alone.
        laws: the fits.
        noise: standard deviation of ln L of a single run about the mean of the fits.
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
    laws: dict[str, Law] = {}
    for method in FITS:
        try:
            law = _fit(fitted_runs, method, None)
            _point(law, ahead, fitted_runs.flops_per_product)
        except WeatherError as error:
            remarks.append(f"{method}: not fitted: {error}")
        else:
            laws[method] = law
    options = {"level": level, "draws": draws, "seed": seed, "seed_noise": seed_noise, "done": done}
    found, noise, said = _bounded(fitted_runs, ahead, laws, options, remarks)
    for name, given in (("parameters", ahead.parameters), ("samples", ahead.samples)):
        if given is not None:
            found[name] = Interval(given, given, given, level)
    remarks += said
    if ahead.unique is not None and ahead.repeats(found["samples"].estimate) and not with_repeats:
        remarks.append(
            f"the run repeats its data ({found['samples'].estimate / ahead.unique:.3g} epochs) and no fitted runs show "
            "what that costs: its loss will lie above what is said here by an unknown amount"
        )
    by_fit = {method: found[method] for method in laws if method in found}
    kept = {method: laws[method] for method in by_fit}
    return Foretold(found["parameters"], found["samples"], found["loss"], by_fit, kept, noise, tuple(remarks))


def _bounded(
    runs: Observations, ahead: RunAhead, laws: dict[str, Law], options: dict[str, Any], remarks: list[str]
) -> tuple[dict[str, Interval], float, list[str]]:
    """Intervals by both fits together; where one of them fails too often in the draws, by the other alone."""
    for kept in (laws, *({method: law} for method, law in laws.items() if len(laws) > 1)):
        if kept:
            try:
                return _intervals_of(runs, ahead, kept, **options)
            except WeatherError as error:
                remarks.append(f"{' and '.join(kept)}: no interval: {error}")
    raise DataError("neither fit of L(N, D) is possible", where="; ".join(remarks))


def _intervals_of(
    runs: Observations,
    ahead: RunAhead,
    laws: dict[str, Law],
    *,
    level: float,
    draws: int,
    seed: int,
    seed_noise: float,
    done: Callable[[int, int], None],
) -> tuple[dict[str, Interval], float, list[str]]:
    """Intervals of the quantities, and of the loss by each fit; the noise of the run, and what is to be said."""
    k = runs.flops_per_product

    def evaluate(drawn: Observations) -> dict[str, float]:
        points = {method: _point(_fit(drawn, method, law), ahead, k) for method, law in laws.items()}
        both = {name: _middle([getattr(point, name) for point in points.values()]) for name in QUANTITIES}
        return {name: max(value, VANISHED) for name, value in both.items()} | {
            method: max(point.loss, VANISHED) for method, point in points.items()
        }

    coefficients = LAW_COEFFICIENTS + (0 if runs.once.all() else REPETITION_COEFFICIENTS)
    fitted = np.exp(
        np.mean([np.log(_loss(law, runs.parameters, runs.samples, runs.unique)) for law in laws.values()], 0)
    )
    noise = noise_of_kinds(runs, fitted, seed_noise, cautious=False)
    repeats = any(ahead.repeats(_point(law, ahead, k).samples) for law in laws.values())
    # Of its kind: repeated data scatter more.
    own = float(noise.max() if repeats else noise[runs.once][0])
    losses = ("loss", *laws)
    intervals = by_run(
        *(runs, fitted, coefficients, evaluate),
        level=level,
        draws=draws,
        seed=seed,
        next_run=losses,
        noise=noise,
        next_noise=own,
        fitted_once=counting(draws, done),
    )
    law = next(iter(laws.values()))
    chance = chance_of_structure(runs.take(np.flatnonzero(runs.once)), law if isinstance(law, LossLaw) else law.law)
    if len(runs.budgets()) < FEWEST_BUDGETS:
        return intervals, own, [f"its interval is by run only: {len(runs.budgets())} budgets show no more"]
    if chance >= STRUCTURE:
        return intervals, own, []
    said = f"whole budgets lie off the law together, more than noise explains (chance {chance:.1%})"
    try:
        wide = by_budget(runs, evaluate, level=level, noise=own, next_run=losses)
    except DataError as error:
        return intervals, own, [f"{said}, and its interval is by run only: {error}"]
    widest = {name: max(intervals[name], wide[name], key=lambda i: i.width) for name in intervals}
    return widest, own, [f"{said}: intervals allow for it, and are wider"]


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


def _middle(values: list[float]) -> float:
    """Geometric mean."""
    return float(np.exp(np.mean(np.log(values))))


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
