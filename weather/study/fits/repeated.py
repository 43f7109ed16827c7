"""R*_D and R*_N of data that repeat, with the law of data seen once held fixed.

Muennighoff et al. 2023 (arXiv 2305.16264, section 5 and appendix A) fit in two steps: E, A, B, alpha and beta to runs
that see their data once, then the two constants of repetition to all runs, by the Huber loss of residuals in ln L.
Fitting all seven at once lets the constants make up for what the law misses elsewhere.

Their law counts parameters beyond what U samples serve as excess, also where no sample repeats. So the first step is
exact only where runs that see their data once are not larger than that; with larger ones among them the constants are
biased: to 10.1 instead of 15.4 for R*_D at the sizes of the published runs, of losses without noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from weather.errors import DataError
from weather.study.fits.intervals import noise_of
from weather.study.fits.laws import Array, LossLaw, RepeatedDataLaw
from weather.study.fits.observations import REPEATED, Observations
from weather.study.fits.parametric import DELTA

STARTS = (0.5, 2.0, 8.0, 32.0)
# Beyond, a constant says no more than that a repetition is worth nothing, or as much as new data.
LEAST, MOST = 1e-2, 1e4
LAW_COEFFICIENTS, REPETITION_COEFFICIENTS = 5, 2
FEWEST_REPEATED = 4  # two more than there are constants


def expected_loss(law: RepeatedDataLaw, parameters: Array, samples: Array, unique: Array) -> Array:
    """Of runs that see their data once the law that was fitted to them, of the others that of repeated data."""
    once = samples <= unique * (1 + REPEATED)
    return np.where(once, law.law.loss(parameters, samples), law.loss(parameters, samples, unique))


def noise_of_kinds(runs: Observations, fitted: Array, least: float, *, cautious: bool = True) -> Array:
    """Standard deviation of ln L of each run about a fit, shape [run]: repeated data scatter more than new ones.

    Args:
        fitted: the fit's loss of each run, shape [run].
        least: below which no scatter is believed.
        cautious: as in `noise_of`.

    Raises:
        DataError: too few runs see their data once.
    """
    noise = np.empty(len(runs))
    for kind, coefficients in ((runs.once, LAW_COEFFICIENTS), (~runs.once, REPETITION_COEFFICIENTS)):
        index = np.flatnonzero(kind)
        if len(index):
            noise[index] = max(noise_of(runs.take(index), fitted[index], coefficients, cautious=cautious), least)
    return noise


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

    if min(once.model_coefficient, once.data_coefficient, once.model_exponent, once.data_exponent) <= 0:
        raise DataError(
            "a term of the law of data seen once has vanished",
            rule="what repetition is worth is measured by what new data are worth",
            fix="add runs that see their data once",
        )

    def residuals(x: Array) -> Array:
        law = RepeatedDataLaw(once, *np.exp(x))
        return np.asarray(np.log(law.loss(runs.parameters, runs.samples, runs.unique)) - np.log(runs.loss))

    if not np.isfinite(residuals(np.zeros(2))).all():
        raise DataError("the law of data seen once says nothing finite of the runs that repeat their data")
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
    values = dict(zip(("data_repetitions", "model_excess"), np.exp(best.x).tolist(), strict=True))
    unbounded = [name for name, value in values.items() if not 2 * LEAST < value < MOST / 2]
    flaw = f"the runs do not bound {' and '.join(unbounded)}" if unbounded else ""
    return RepeatedFit(RepeatedDataLaw(once, *values.values()), -residuals(best.x), float(best.cost), flaw)
