"""The best peak learning rate by size: a parabola in ln(rate) for each size, and a power law through the optima.

Near its minimum the loss is a parabola in the logarithm of the rate; towards large rates it rises steeply, and so only
the rates nearest the best one are fitted. That the optimum follows a power law of N is the assumption of Kaplan et al.
2020 (arXiv 2001.08361, appendix D.6) and of DeepSeek-AI 2024 (arXiv 2401.02954, section 3.1), there of C.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weather.errors import DataError
from weather.study.fits.isoflop import fit_power_law
from weather.study.fits.laws import Array, PowerLaw

FEWEST_RATES = 3  # a parabola has three coefficients
NEIGHBOURS = 2  # rates on each side of the best one that are fitted


@dataclass(frozen=True)
class RateCurve:
    """One size at several rates.

    Attributes:
        parameters: N.
        rates, losses: of the runs that ended with a finite loss, by rising rate, shape [run].
        optimum: rate at the minimum of the parabola; None where it has none among the rates.
        loss: there.
        flaw: why there is no optimum; empty if there is.
    """

    parameters: float
    rates: Array
    losses: Array
    optimum: float | None
    loss: float | None
    flaw: str


@dataclass(frozen=True)
class RateFit:
    """Curves by size, the law rate = c N^p through the optima of those without a flaw, and what to think of it."""

    curves: tuple[RateCurve, ...]
    law: PowerLaw
    remarks: tuple[str, ...]


def fit_rate_curve(parameters: float, rates: Array, losses: Array) -> RateCurve:
    """The best rate of one size.

    Args:
        rates, losses: of its runs, shape [run]; a loss that is not finite is of a run that diverged.
    """
    order = np.argsort(rates)
    rates, losses = np.asarray(rates, float)[order], np.asarray(losses, float)[order]
    finite = np.isfinite(losses)
    rates, losses = rates[finite], losses[finite]

    def flawed(flaw: str) -> RateCurve:
        return RateCurve(parameters, rates, losses, None, None, flaw)

    if len(rates) < FEWEST_RATES:
        return flawed(f"{len(rates)} rate(s) with a finite loss; a parabola needs {FEWEST_RATES}")
    best = int(np.argmin(losses))
    if best in (0, len(rates) - 1):
        side = "largest" if best else "smallest"
        return flawed(f"the best rate, {rates[best]:.3g}, is the {side} that ended with a finite loss")
    near = slice(max(0, best - NEIGHBOURS), best + NEIGHBOURS + 1)
    center = float(np.log(rates[best]))
    c0, c1, c2 = np.polynomial.polynomial.polyfit(np.log(rates[near]) - center, losses[near], 2)
    # The best point lies inside, but points far up one side may still pull the minimum out.
    minimum = center - c1 / (2 * c2) if c2 > 0 else np.inf
    if not np.log(rates[near][0]) < minimum < np.log(rates[near][-1]):
        return flawed("the parabola has no minimum among the rates")
    return RateCurve(parameters, rates, losses, float(np.exp(minimum)), float(c0 - c1**2 / (4 * c2)), "")


def fit_learning_rates(curves: list[RateCurve]) -> RateFit:
    """The law through the optima.

    Raises:
        DataError: fewer than two sizes have an optimum among their rates.
    """
    found = [(curve.parameters, curve.optimum) for curve in curves if curve.optimum is not None]
    flaws = tuple(f"{curve.parameters:.3g} parameters: {curve.flaw}" for curve in curves if curve.flaw)
    if len(found) < 2:
        raise DataError(
            f"{len(found)} of {len(curves)} sizes have a best learning rate among those that were tried",
            where="; ".join(flaws),
            rule="a rule by size needs two",
            fix="widen calibration.learning_rates on that side and calibrate again",
        )
    law = fit_power_law(np.array([n for n, _ in found]), np.array([rate for _, rate in found]))
    remarks = flaws
    if len(found) == 2:
        remarks += ("the law goes through two sizes exactly: nothing tells how well it holds",)
    return RateFit(tuple(curves), law, remarks)
