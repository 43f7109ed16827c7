"""IsoFLOP curves: a parabola in ln N for each budget, and the power laws of their minima.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 2. The parabola is exact only near its minimum: where sizes lie far
from it, or unevenly about it, the exponents are biased, and a fit of L(N, D) is to be preferred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weather.errors import DataError
from weather.study.fits.laws import Array, Optimum, PowerLaw
from weather.study.fits.observations import Indices, Observations

FEWEST_SIZES = 3  # a parabola has three coefficients
FLAT = 2.0  # standard errors of its curvature that a parabola must rise by, about 95 % for many runs
# Most over least FLOPs of a budget: neighbours that lie close form a chain. Curves digitised from a figure reach 1.28;
# 1.3 is about 2 % of a loss that falls as C^-0.07.
LARGEST_SPAN = 1.3
ROUNDING = 1e-9  # of the loss
EDGE = 0.1  # share of the range of ln N, at either end, in which a minimum is one-sided


@dataclass(frozen=True)
class IsoFlopCurve:
    """The runs of one budget.

    Attributes:
        flops: their median C.
        runs: their indices in the observations.
        coefficients: of the parabola L = c0 + c1 x + c2 x^2 with x = ln N - center.
        center: mean of ln N.
        optimum: minimum of the parabola; None where it has none.
        flaw: why the minimum is not to be trusted; empty if it is inside the sizes and away from their ends.
    """

    flops: float
    runs: Indices
    coefficients: Array
    center: float
    optimum: Optimum | None
    flaw: str

    def loss(self, parameters: Array) -> Array:
        """The parabola at N."""
        return np.asarray(np.polynomial.polynomial.polyval(np.log(parameters) - self.center, self.coefficients))


@dataclass(frozen=True)
class IsoFlopFit:
    """Curves by rising budget, and the power laws in C through the minima of those without a flaw."""

    curves: tuple[IsoFlopCurve, ...]
    parameters: PowerLaw
    samples: PowerLaw
    loss: PowerLaw

    def optimum(self, flops: float) -> Optimum:
        """The best use of a budget, by the power laws."""
        return Optimum(float(self.parameters(flops)), float(self.samples(flops)), float(self.loss(flops)))


def fit_isoflops(runs: Observations) -> IsoFlopFit:
    """Fit all budgets.

    Raises:
        DataError: fewer than two budgets have a minimum among their sizes.
    """
    curves = tuple(_curve(runs, index) for index in runs.budgets() if _sizes(runs, index) >= FEWEST_SIZES)
    found = [(curve.flops, curve.optimum) for curve in curves if curve.optimum is not None and not curve.flaw]
    if len(found) < 2:
        flaws = "; ".join(f"{curve.flops:.3g} FLOPs: {curve.flaw}" for curve in curves if curve.flaw)
        raise DataError(
            f"{len(found)} of {len(runs.budgets())} budgets have a minimum among their sizes",
            where=flaws,
            rule=f"two are needed, of at least {FEWEST_SIZES} sizes each",
            fix="add budgets" if len(runs.budgets()) < 2 else "train sizes on both sides of the minimum",
        )
    flops = np.array([c for c, _ in found])
    laws = (
        fit_power_law(flops, np.array([getattr(optimum, name) for _, optimum in found]))
        for name in ("parameters", "samples", "loss")
    )
    return IsoFlopFit(curves, *laws)


def fit_power_law(x: Array, y: Array) -> PowerLaw:
    """Least squares in ln y against ln x, without offset."""
    exponent, constant = np.polyfit(np.log(x), np.log(y), 1)
    return PowerLaw(float(np.exp(constant)), float(exponent))


def _sizes(runs: Observations, index: Indices) -> int:
    return len(np.unique(runs.parameters[index]))


def _curve(runs: Observations, index: Indices) -> IsoFlopCurve:
    log_n, loss = np.log(runs.parameters[index]), runs.loss[index]
    flops = float(np.median(runs.flops[index]))
    center = float(log_n.mean())
    coefficients: Array = np.asarray(np.polynomial.polynomial.polyfit(log_n - center, loss, 2), float)
    rise = coefficients[2] * (np.ptp(log_n) / 2) ** 2
    if rise <= ROUNDING * loss.min():
        return IsoFlopCurve(flops, index, coefficients, center, None, "the curve has no minimum")
    minimum = center - coefficients[1] / (2 * coefficients[2])
    # Of these runs, not of all: k depends a little on the size.
    nearest = index[np.argmin(np.abs(log_n - minimum))]
    product = flops * runs.parameters[nearest] * runs.samples[nearest] / runs.flops[nearest]
    least = float(coefficients[0] - coefficients[1] ** 2 / (4 * coefficients[2]))
    optimum = Optimum(float(np.exp(minimum)), float(product / np.exp(minimum)), least)
    lowest, highest = log_n.min(), log_n.max()
    margin = EDGE * (highest - lowest)
    flaw = ""
    span = float(runs.flops[index].max() / runs.flops[index].min())
    if span > LARGEST_SPAN:
        flaw = f"its runs are no one budget: their FLOPs differ by {span - 1:.0%}, and their losses with them"
    elif coefficients[2] < FLAT * _curvature_error(log_n - center, loss, coefficients):
        flaw = "the curve is flat within the scatter of its runs"
    elif not lowest <= minimum <= highest:
        flaw = f"the minimum, {optimum.parameters:.3g} parameters, lies outside the sizes"
    elif not lowest + margin <= minimum <= highest - margin:
        flaw = f"the minimum, {optimum.parameters:.3g} parameters, lies at the edge of the sizes"
    return IsoFlopCurve(flops, index, coefficients, center, optimum, flaw)


def _curvature_error(x: Array, loss: Array, coefficients: Array) -> float:
    """Standard error of the parabola's curvature, from its residuals; 0 where no run is to spare."""
    free = len(x) - FEWEST_SIZES
    if free < 1:
        return 0.0
    design = np.vander(x, FEWEST_SIZES, increasing=True)
    variance = float(((loss - design @ coefficients) ** 2).sum()) / free
    return float(np.sqrt(variance * np.linalg.inv(design.T @ design)[2, 2]))
