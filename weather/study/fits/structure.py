"""Whether whole budgets lie off a law together, as they do where its form is not quite right."""

from __future__ import annotations

import numpy as np
from scipy.stats import f as variance_ratio

from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import sensitivities

STRUCTURE = 0.05  # chance below which the budgets' offsets are not taken for noise
DEPENDENT = 1e-8  # singular values below, as a share of the largest, are rounding


def chance_of_structure(runs: Observations, law: LossLaw) -> float:
    """Chance that noise alone makes the budgets' mean residuals differ so much; 1 where it cannot be said.

    The F test of nested linear models (Seber & Lee 2003, Linear Regression Analysis, section 4.3) in ln L: an offset
    for each budget beside the five coefficients, linearised at the law. What the coefficients can take up of the
    offsets does not count.

    Args:
        runs: that see their data once.
        law: that was fitted to them.
    """
    slopes = sensitivities(runs, law)
    budgets = runs.budgets()
    offsets = np.zeros((len(runs), len(budgets)))
    for column, index in enumerate(budgets):
        offsets[index, column] = 1.0
    residuals = np.log(runs.loss / law.loss(runs.parameters, runs.samples))
    without, rank = _rest(slopes, residuals)
    with_offsets, full = _rest(np.hstack([slopes, offsets]), residuals)
    more, free = full - rank, len(runs) - full
    if more < 1 or free < 1:
        return 1.0
    least = max(with_offsets, len(runs) * np.finfo(float).eps ** 2)
    return float(variance_ratio.sf((without - with_offsets) / more / (least / free), more, free))


def _rest(columns: Array, values: Array) -> tuple[float, int]:
    """Sum of squares that the columns leave of the values, and how many of them are independent."""
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    basis = basis[:, sizes > DEPENDENT * sizes[0]]
    return float(((values - basis @ (basis.T @ values)) ** 2).sum()), basis.shape[1]
