"""A budget spent as the pooled loss would have it, seen from one channel and lead."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from weather.errors import DataError
from weather.study.fits.intervals import Interval, Quantities, by_budget
from weather.study.fits.laws import LossLaw, Optimum
from weather.study.fits.observations import BUDGET_TOLERANCE, Observations
from weather.study.fits.parametric import fit_projection

VISIBLE = 2.0  # a term of the law counts if its spread over the runs is so many times the scatter about the law
LARGEST_EXPONENT = 5.0  # above, a term tells the smallest runs from all others, and nothing more


@dataclass(frozen=True)
class PooledChoice:
    """The two best sizes by the fitted laws.

    Attributes:
        best: the best size for the channel.
        pooled: the best size for the pooled loss, with the loss of the channel there.
        size_ratio: pooled over best number of parameters.
        excess: mean squared error at the pooled choice over the least, minus 1.
        scatter: of ln L of a run about the law of the channel, root mean square.
        extrapolated: whether one of the two sizes lies outside those that were trained.
    """

    flops: float
    best: Optimum
    pooled: Optimum
    size_ratio: Interval
    excess: float
    scatter: float
    extrapolated: bool

    def scaled(self, unit: float) -> PooledChoice:
        """The same with losses in another unit."""
        best, pooled = (replace(each, loss=each.loss * unit) for each in (self.best, self.pooled))
        return replace(self, best=best, pooled=pooled)

    @property
    def misleads(self) -> bool:
        """Whether the sizes differ by more than their error, and cost more than one run differs from the next."""
        return not self.size_ratio.low <= 1 <= self.size_ratio.high and self.excess > self.scatter


@dataclass(frozen=True)
class SeenChoice:
    """The two best sizes, in parameters, among the runs of a budget, without a law: noise is part of `excess`."""

    flops: float
    best: float
    pooled: float
    excess: float


def determined_law(runs: Observations, start: LossLaw | None = None) -> LossLaw:
    """The law, if both of its terms are seen in the runs.

    Raises:
        DataError: one is not; the law then has no best size.
    """
    law = fit_projection(runs, start).law
    scatter = scatter_of(law, runs)
    for symbol, amount, coefficient, exponent in (
        ("N", runs.parameters, law.model_coefficient, law.model_exponent),
        ("D", runs.samples, law.data_coefficient, law.data_exponent),
    ):
        spread = float(np.ptp(coefficient * amount**-exponent / runs.loss.mean()))
        if not (spread > VISIBLE * scatter and exponent < LARGEST_EXPONENT):
            raise DataError(
                f"the error is not seen to depend on {symbol}: its term varies by {spread:.2g} of the error "
                f"(exponent {exponent:.2g}), and runs scatter by {scatter:.2g}",
                rule="without both terms there is no best size",
            )
    return law


def scatter_of(law: LossLaw, runs: Observations) -> float:
    """Root mean square of ln L of the runs about the law."""
    residuals = np.log(runs.loss / law.loss(runs.parameters, runs.samples))
    return float(np.sqrt((residuals**2).mean()))


def pooled_choice(runs: Observations, pooled: Observations, law: LossLaw, budget: float, level: float) -> PooledChoice:
    """What the laws say of a budget.

    Args:
        runs: with the error of the channel; pooled: the same runs with the pooled loss.
        law: of the channel.
        level: of the interval.

    Raises:
        DataError: a law, or its interval, cannot be had.
    """
    k = runs.flops_per_product
    try:
        pooled_law = determined_law(pooled)
    except DataError as error:
        raise DataError(f"the pooled loss has no best size: {str(error).rstrip('.')}") from error
    best, theirs = law.optimum(budget, k), pooled_law.optimum(budget, k)

    def evaluate(left: Observations) -> Quantities:
        # Whole budgets are left out, and no two budgets share a value of C.
        same = pooled.take(np.flatnonzero(np.isin(pooled.flops, left.flops)))
        sizes = (determined_law(same, pooled_law).optimum(budget, k), determined_law(left, law).optimum(budget, k))
        return {"ratio": sizes[0].parameters / sizes[1].parameters}

    loss = float(law.loss(theirs.parameters, theirs.samples))
    smallest, largest = runs.parameters.min(), runs.parameters.max()
    return PooledChoice(
        budget,
        best,
        Optimum(theirs.parameters, theirs.samples, loss),
        by_budget(runs, evaluate, level=level)["ratio"],
        loss / best.loss - 1,
        scatter_of(law, runs),
        not all(smallest <= size <= largest for size in (best.parameters, theirs.parameters)),
    )


def seen_choice(runs: Observations, pooled: Observations, budget: float) -> SeenChoice:
    """What the runs of a budget say.

    Raises:
        DataError: the budget has fewer than two sizes.
    """
    index = np.flatnonzero(np.abs(np.log(runs.flops / budget)) <= np.log1p(BUDGET_TOLERANCE))
    if len(np.unique(runs.parameters[index])) < 2:
        raise DataError(f"no two sizes were trained with {budget:.3g} FLOPs", rule="a choice is among sizes")
    best, theirs = index[np.argmin(runs.loss[index])], index[np.argmin(pooled.loss[index])]
    sizes = runs.parameters
    return SeenChoice(budget, float(sizes[best]), float(sizes[theirs]), float(runs.loss[theirs] / runs.loss[best] - 1))
