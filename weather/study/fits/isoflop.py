"""IsoFLOP curves: a parabola in ln N for each budget, and the power laws of their minima.

Hoffmann et al. 2022 (arXiv 2203.15556), approach 2. The parabola is exact only near its minimum: where sizes lie far
from it, or unevenly about it, the exponents are biased, and a fit of L(N, D) is to be preferred.

The published method weighs all budgets alike, and so does this one while the curves fix their minima about equally
well. Where one is several times less certain than most (`UNEVEN`), minima are weighed by their standard errors, none by
less than the median: one of a few runs that happen to lie on a parabola is not known that well.
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
UNEVEN = 4.0  # largest over median error of the minima; the published curves of CS336 reach 3
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
        error: standard error of ln N of the minimum, by the delta method; 0 where no run is to spare.
    """

    flops: float
    runs: Indices
    coefficients: Array
    center: float
    optimum: Optimum | None
    flaw: str
    error: float = 0.0

    def loss(self, parameters: Array) -> Array:
        """The parabola at N."""
        return np.asarray(np.polynomial.polynomial.polyval(np.log(parameters) - self.center, self.coefficients))


@dataclass(frozen=True)
class IsoFlopFit:
    """Curves by rising budget, and the power laws in C through the minima of those without a flaw.

    Attributes:
        weighted: whether minima count by their errors, since these differ much.
    """

    curves: tuple[IsoFlopCurve, ...]
    parameters: PowerLaw
    samples: PowerLaw
    loss: PowerLaw
    weighted: bool = False

    def optimum(self, flops: float) -> Optimum:
        """The best use of a budget, by the power laws."""
        return Optimum(float(self.parameters(flops)), float(self.samples(flops)), float(self.loss(flops)))


def fit_isoflops(runs: Observations) -> IsoFlopFit:
    """Fit all budgets.

    Raises:
        DataError: fewer than two budgets have a minimum among their sizes.
    """
    curves = tuple(_curve(runs, index) for index in runs.budgets() if _sizes(runs, index) >= FEWEST_SIZES)
    good = [curve for curve in curves if not curve.flaw]
    found = [(curve.flops, curve.optimum) for curve in good if curve.optimum is not None]
    if len(found) < 2:
        flaws = "; ".join(f"{curve.flops:.3g} FLOPs: {curve.flaw}" for curve in curves if curve.flaw)
        raise DataError(
            f"{len(found)} of {len(runs.budgets())} budgets have a minimum among their sizes",
            where=flaws,
            rule=f"two are needed, of at least {FEWEST_SIZES} sizes each",
            fix="add budgets" if len(runs.budgets()) < 2 else "train sizes on both sides of the minimum",
        )
    flops = np.array([c for c, _ in found])
    weights = _weights(np.array([curve.error for curve in good]))
    parameters, samples, loss = (
        fit_power_law(flops, np.array([getattr(optimum, name) for _, optimum in found]), weights)
        for name in ("parameters", "samples", "loss")
    )
    return IsoFlopFit(curves, parameters, samples, loss, weights is not None)


def _weights(errors: Array) -> Array | None:
    """1 / error of each minimum, at most that of the median; None where they differ little or are not known."""
    middle = float(np.median(errors))
    if len(errors) < 3 or middle <= ROUNDING or errors.max() <= UNEVEN * middle:
        return None
    return np.asarray(1 / np.maximum(errors, middle))


def fit_power_law(x: Array, y: Array, weights: Array | None = None) -> PowerLaw:
    """Least squares in ln y against ln x, without offset.

    Args:
        weights: of the residuals, 1 / standard error; None: all alike.
    """
    exponent, constant = np.polyfit(np.log(x), np.log(y), 1, w=weights)
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
    covariance = _covariance(log_n - center, loss, coefficients)
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
    elif coefficients[2] < FLAT * np.sqrt(covariance[2, 2]):
        flaw = "the curve is flat within the scatter of its runs"
    elif not lowest <= minimum <= highest:
        flaw = f"the minimum, {optimum.parameters:.3g} parameters, lies outside the sizes"
    elif not lowest + margin <= minimum <= highest - margin:
        flaw = f"the minimum, {optimum.parameters:.3g} parameters, lies at the edge of the sizes"
    # The minimum lies at -c1 / 2 c2.
    slope = np.array([0.0, -1.0, coefficients[1] / coefficients[2]]) / (2 * coefficients[2])
    return IsoFlopCurve(flops, index, coefficients, center, optimum, flaw, float(np.sqrt(slope @ covariance @ slope)))


def _covariance(x: Array, loss: Array, coefficients: Array) -> Array:
    """Of the parabola's coefficients, from its residuals, shape [3, 3]; 0 where no run is to spare."""
    free = len(x) - FEWEST_SIZES
    if free < 1:
        return np.zeros((FEWEST_SIZES, FEWEST_SIZES))
    design = np.vander(x, FEWEST_SIZES, increasing=True)
    variance = float(((loss - design @ coefficients) ** 2).sum()) / free
    return np.asarray(variance * np.linalg.inv(design.T @ design))
