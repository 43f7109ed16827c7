"""The loss of the best run of each budget as a power law of C, with and without an irreducible part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from weather.errors import DataError
from weather.study.fits.isoflop import fit_power_law
from weather.study.fits.laws import Array, PowerLaw

FEWEST_BUDGETS = {"power law": 2, "power law with offset": 3}
EXPONENTS = (0.05, 0.1, 0.2, 0.4, 0.8)
OFFSETS = (0.0, 0.3, 0.6, 0.9)  # starts, as shares of the least loss


@dataclass(frozen=True)
class ComputeFit:
    """A law L(C) with what it leaves.

    Attributes:
        residuals: ln L minus that of the law, shape [budget].
        coefficients: how many numbers were chosen: 2, or 3 with an offset.
    """

    law: PowerLaw
    residuals: Array
    coefficients: int


def fit_compute(flops: Array, loss: Array, *, offset: bool) -> ComputeFit:
    """Least squares in ln L of L = K C^-g, or of L = E + K C^-g with E >= 0 and g > 0.

    Args:
        flops: C of each budget, shape [budget].
        loss: the least loss of each, shape [budget].

    Raises:
        DataError: fewer budgets than coefficients.
    """
    form = "power law with offset" if offset else "power law"
    if len(np.unique(flops)) < FEWEST_BUDGETS[form]:
        raise DataError(f"{len(np.unique(flops))} budgets", rule=f"a {form} has {FEWEST_BUDGETS[form]} coefficients")
    if not offset:
        law = fit_power_law(flops, loss)
        return ComputeFit(law, np.log(loss / law(flops)), 2)
    pivot = float(np.exp(np.log(flops).mean()))
    log_c, log_l = np.log(flops / pivot), np.log(loss)
    least = float(loss.min())

    def residuals(x: Array) -> Array:
        return np.log(x[0] + np.exp(x[1] - x[2] * log_c)) - log_l

    fits = [
        least_squares(
            residuals,
            [share * least, np.log(max(float(np.median(loss)) - share * least, 1e-6 * least)), exponent],
            bounds=([0.0, -np.inf, 1e-6], [least, np.inf, 10.0]),
            x_scale=[least, 1.0, 0.1],
            xtol=1e-13,
            ftol=1e-13,
            gtol=1e-13,
        )
        for share in OFFSETS
        for exponent in EXPONENTS
    ]
    found = min(fits, key=lambda fit: fit.cost).x
    law = PowerLaw(float(np.exp(found[1]) * pivot ** found[2]), float(-found[2]), float(found[0]))
    return ComputeFit(law, np.log(loss / law(flops)), 3)
