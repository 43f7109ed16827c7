"""R*_D and R*_N of data that repeat, with the law of data seen once held fixed.

Muennighoff et al. 2023 (arXiv 2305.16264, section 5 and appendix A) fit in two steps: E, A, B, alpha and beta to runs
that see their data once, then the two constants of repetition to all runs, by the Huber loss of residuals in ln L.
Fitting all seven at once lets the constants make up for what the law misses elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from weather.errors import DataError
from weather.study.fits.laws import Array, LossLaw, RepeatedDataLaw
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import DELTA

STARTS = (0.5, 2.0, 8.0, 32.0)
# Beyond, a constant says no more than that a repetition is worth nothing, or as much as new data.
LEAST, MOST = 1e-2, 1e4
FEWEST_REPEATED = 4  # two more than there are constants


@dataclass(frozen=True)
class RepeatedFit:
    """A law with what it leaves.

    Attributes:
        residuals: ln L of the runs minus that of the law, shape [run].
        objective: sum of the Huber losses at the law.
        flaw: a constant that the runs do not bound; empty if they bound both.
    """

    law: RepeatedDataLaw
    residuals: Array
    objective: float
    flaw: str


def fit_repeated(runs: Observations, once: LossLaw, start: RepeatedDataLaw | None = None) -> RepeatedFit:
    """Fit the two constants.

    Args:
        runs: of which some repeat their data.
        once: the law of data seen once.
        start: from its constants only; None: from a grid.

    Raises:
        DataError: too few runs repeat their data.
    """
    repeating = int((~runs.once).sum())
    if repeating < FEWEST_REPEATED:
        raise DataError(
            f"{repeating} runs repeat their data (D > U)",
            rule=f"two constants of repetition need {FEWEST_REPEATED} at least",
        )

    def residuals(x: Array) -> Array:
        law = RepeatedDataLaw(once, *np.exp(x))
        return np.asarray(np.log(law.loss(runs.parameters, runs.samples, runs.unique)) - np.log(runs.loss))

    starts = [(d, n) for d in STARTS for n in STARTS]
    if start is not None:
        starts = [(start.data_repetitions, start.model_excess)]
    fits = [
        least_squares(
            residuals,
            np.log(np.clip(each, LEAST * 1.01, MOST / 1.01)),
            bounds=(np.log(LEAST), np.log(MOST)),
            loss="huber",
            f_scale=DELTA,
            xtol=1e-10,
            ftol=1e-12,
            gtol=1e-12,
        )
        for each in starts
    ]
    best = min(fits, key=lambda fit: fit.cost)
    values = dict(zip(("R*_D", "R*_N"), np.exp(best.x).tolist(), strict=True))
    unbounded = [name for name, value in values.items() if not 2 * LEAST < value < MOST / 2]
    flaw = f"the runs do not bound {' and '.join(unbounded)}" if unbounded else ""
    return RepeatedFit(RepeatedDataLaw(once, *values.values()), -residuals(best.x), float(best.cost), flaw)
