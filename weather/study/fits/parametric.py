"""L(N, D) = E + A / N^alpha + B / D^beta from runs, in two ways that should agree.

`fit_huber` follows Hoffmann et al. 2022 (arXiv 2203.15556, section D.3) with the corrections of Besiroglu et al. 2024
(arXiv 2404.10102): the sum, not the mean, of Huber losses of the residuals of ln L, minimised to convergence from a
grid of starts. `fit_projection` (variable projection, Golub & Pereyra 1973) solves E, A, B linearly for each pair of
exponents and so has only two unknowns left; its least squares in L are more sensitive to outliers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares, minimize, nnls

from weather.errors import DataError
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations

DELTA = 1e-3  # of the Huber loss: a residual of 0.1 % of L is where squares end
SMALLEST_EXPONENT = 1e-6
LARGEST_EXPONENT = 10.0  # a term that falls faster is one run's, not a law
SAME_LOSS = 1e-9  # relative: below, differences are rounding
FEWEST_RUNS = 6  # one more than the law has coefficients
# Hoffmann et al.'s grid of starts, in the scaled variables below: exponents, and shares of the terms in the loss.
EXPONENTS = (0.05, 0.15, 0.3, 0.5, 0.8, 1.2)
SHARES = (0.05, 0.2, 0.5, 0.8, 0.95)  # E as a share of the least loss
REFINED_STARTS = 8
# What a repeated fit begins with, as a share of the least loss: from an E that vanished no slope leads back.
LEAST_START = 0.05
# Tolerances of a repeated fit, far below what the noise moves it by; each is one of hundreds.
REPEATED_FIT = {"gtol": 1e-8, "ftol": 1e-13, "maxiter": 500}
REPEATED_PROJECTION = {"xatol": 1e-4, "fatol": 1e-6}  # ln of an exponent; share of the least loss


@dataclass(frozen=True)
class ParametricFit:
    """A law with what it leaves.

    Attributes:
        residuals: ln L of the runs minus that of the law, shape [run].
        objective: what was minimised, at the law.
    """

    law: LossLaw
    residuals: Array
    objective: float


def fit_huber(runs: Observations, start: LossLaw | None = None) -> ParametricFit:
    """The robust fit in ln L.

    Args:
        runs: at least six, that vary in N and in D.
        start: the law of nearly the same runs, from which alone the fit is repeated, to `REPEATED_FIT`; None: from a
            grid of starts, to convergence.

    Raises:
        DataError: too few runs, they vary in one direction only, or they do not determine the exponents.
    """
    check(runs)
    scale = _Scale(runs)
    if start is not None:
        found = _settle(scale, scale.restart(start), "L-BFGS-B", REPEATED_FIT).x
    else:
        best = min((_approach(scale, each) for each in _grid(scale, runs)), key=lambda fit: fit.cost)
        # The trust region crawls where most residuals lie beyond delta, or E goes to 0; this method does not.
        settled = _settle(scale, best.x, "BFGS", {"gtol": 1e-9})
        found = settled.x if settled.fun <= best.cost else best.x
    _check_exponents(float(found[3]), float(found[4]))
    law = scale.decode(found)
    residuals = np.log(runs.loss) - np.log(law.loss(runs.parameters, runs.samples))
    return ParametricFit(law, residuals, float(_huber_objective(scale, found)[0]))


def fit_projection(runs: Observations, start: LossLaw | None = None) -> ParametricFit:
    """The least-squares fit in L, by variable projection.

    Raises:
        DataError: too few runs, they vary in one direction only, or they do not determine the exponents.
    """
    check(runs)
    log_n, log_d = np.log(runs.parameters), np.log(runs.samples)
    mean_n, mean_d = float(log_n.mean()), float(log_d.mean())
    from_mean_n, from_mean_d = log_n - mean_n, log_d - mean_d
    columns = np.ones((len(runs), 3))

    def coefficients(exponents: Array) -> tuple[Array, float]:
        columns[:, 1] = np.exp(-exponents[0] * from_mean_n)
        columns[:, 2] = np.exp(-exponents[1] * from_mean_d)
        return nnls(columns, runs.loss)

    grid = [(start.model_exponent, start.data_exponent)] if start else [(a, b) for a in EXPONENTS for b in EXPONENTS]
    begin = min(grid, key=lambda pair: coefficients(np.array(pair))[1])
    tolerance = REPEATED_PROJECTION if start else {"xatol": 1e-8, "fatol": 1e-12}
    found = minimize(
        lambda x: coefficients(np.exp(x))[1],
        np.log(np.clip(begin, SMALLEST_EXPONENT, LARGEST_EXPONENT)),
        method="Nelder-Mead",
        bounds=[(np.log(SMALLEST_EXPONENT), np.log(LARGEST_EXPONENT))] * 2,
        options={"maxiter": 2000, "xatol": tolerance["xatol"], "fatol": tolerance["fatol"] * runs.loss.min()},
    )
    alpha, beta = np.exp(found.x)
    _check_exponents(alpha, beta)
    (irreducible, model, data), norm = coefficients(np.array([alpha, beta]))
    law = LossLaw(
        float(irreducible),
        float(model * np.exp(alpha * mean_n)),
        float(data * np.exp(beta * mean_d)),
        float(alpha),
        float(beta),
    )
    return ParametricFit(law, np.log(runs.loss) - np.log(law.loss(runs.parameters, runs.samples)), float(norm**2))


def sensitivities(runs: Observations, law: LossLaw) -> Array:
    """Derivatives of each run's ln L by the five coefficients of the law, in some scale of theirs, shape [run, 5]."""
    scale = _Scale(runs)
    return scale.log_law(scale.encode(law))[1]


def _check_exponents(*exponents: float) -> None:
    """Refuse a fit that ran away.

    Raises:
        DataError: an exponent is at or beyond the largest.
    """
    if max(map(abs, exponents)) > 0.999 * LARGEST_EXPONENT:
        alpha, beta = exponents
        raise DataError(
            f"the runs do not determine the law: exponents {alpha:.3g} of N, {beta:.3g} of D",
            rule=f"below {LARGEST_EXPONENT:g}, and published ones are below 1",
            fix="add runs, and look for ones that diverged",
        )


def check(runs: Observations) -> None:
    """Refuse runs that cannot determine the law.

    Raises:
        DataError: too few, all of one budget or of one loss, or N and D rise and fall together.
    """
    if len(runs) < FEWEST_RUNS:
        raise DataError(f"{len(runs)} runs", rule=f"the law has 5 coefficients: {FEWEST_RUNS} runs at least")
    if np.ptp(runs.loss) <= SAME_LOSS * runs.loss.min():
        raise DataError("the losses of these runs are all the same", rule="a law is fitted to how they differ")
    if len(runs.budgets()) == 1 and len(np.unique(runs.parameters)) > 1:
        raise DataError(
            "all runs have one budget",
            rule="at one budget D falls as N rises, so that their effects cannot be told apart",
            fix="add runs of another budget",
        )
    design = np.stack([np.ones(len(runs)), np.log(runs.parameters), np.log(runs.samples)], axis=1)
    spread = np.linalg.svd(design - [0, *design[:, 1:].mean(axis=0)], compute_uv=False)
    if spread[2] < 1e-3 * spread[0]:
        raise DataError(
            "N and D of these runs do not vary independently",
            rule="the law needs several sizes for a budget, or several lengths for a size",
            fix="add runs of other sizes at the same budgets",
        )


class _Scale:
    """Coefficients as numbers near 1: ln of each term at the runs' mean N and D, and the exponents.

    Holds the runs' logarithms, for a fit asks for them dozens of times.
    """

    def __init__(self, runs: Observations) -> None:
        x, y = np.log(runs.parameters), np.log(runs.samples)
        self.log_n, self.log_d = float(x.mean()), float(y.mean())
        self.from_mean_n, self.from_mean_d, self.log_loss = x - self.log_n, y - self.log_d, np.log(runs.loss)

    def encode(self, law: LossLaw) -> Array:
        tiny = 1e-12  # a term that has vanished has no logarithm
        return np.array(
            [
                np.log(max(law.irreducible, tiny)),
                np.log(max(law.model_coefficient, tiny)) - law.model_exponent * self.log_n,
                np.log(max(law.data_coefficient, tiny)) - law.data_exponent * self.log_d,
                law.model_exponent,
                law.data_exponent,
            ]
        )

    def restart(self, law: LossLaw) -> Array:
        """A law as the start of another fit: with an E that can grow."""
        x = self.encode(law)
        x[0] = max(x[0], self.log_loss.min() + np.log(LEAST_START))
        return x

    def decode(self, x: Array) -> LossLaw:
        return LossLaw(
            float(np.exp(x[0])),
            float(np.exp(x[1] + x[3] * self.log_n)),
            float(np.exp(x[2] + x[4] * self.log_d)),
            float(x[3]),
            float(x[4]),
        )

    def log_law(self, x: Array) -> tuple[Array, Array]:
        """ln L, shape [run], and its derivatives by the coefficients, shape [run, 5]."""
        terms = np.empty((3, len(self.log_loss)))  # ln of E, A / N^alpha and B / D^beta
        terms[0] = x[0]
        terms[1] = x[1] - x[3] * self.from_mean_n
        terms[2] = x[2] - x[4] * self.from_mean_d
        largest = terms.max(axis=0)
        np.exp(terms - largest, out=terms)
        total = terms.sum(axis=0)
        share = terms / total
        slopes = np.empty((len(self.log_loss), 5))
        slopes[:, :3] = share.T
        slopes[:, 3] = -share[1] * self.from_mean_n
        slopes[:, 4] = -share[2] * self.from_mean_d
        return largest + np.log(total), slopes


def _huber_objective(scale: _Scale, x: Array) -> tuple[float, Array]:
    """Sum of the Huber losses and its slope, shape [5]; without the matrix of `log_law`, as it is asked so often."""
    model = x[1] - x[3] * scale.from_mean_n
    data = x[2] - x[4] * scale.from_mean_d
    largest = np.maximum(np.maximum(model, data), x[0])
    irreducible, model, data = np.exp(x[0] - largest), np.exp(model - largest), np.exp(data - largest)
    total = irreducible + model + data
    residuals = largest + np.log(total) - scale.log_loss
    clipped = np.minimum(np.maximum(residuals, -DELTA), DELTA)
    weights = clipped / total
    model *= weights
    data *= weights
    slope = [irreducible @ weights, model.sum(), data.sum(), -(model @ scale.from_mean_n), -(data @ scale.from_mean_d)]
    return float(clipped @ (residuals - 0.5 * clipped)), np.array(slope)


def _settle(scale: _Scale, start: Array, method: str, options: dict[str, float]):  # type: ignore[no-untyped-def]
    return minimize(lambda x: _huber_objective(scale, x), start, jac=True, method=method, options=options)


def _approach(scale: _Scale, start: Array):  # type: ignore[no-untyped-def]
    """Near the minimum, whence it is settled: more would only crawl."""
    return least_squares(
        lambda x: scale.log_law(x)[0] - scale.log_loss,
        start,
        jac=lambda x: scale.log_law(x)[1],
        loss="huber",
        f_scale=DELTA,
        xtol=1e-4,
        ftol=1e-4,
        gtol=1e-4,
        max_nfev=12,
    )


def _grid(scale: _Scale, runs: Observations) -> list[Array]:
    """The best of a grid of starts: the rest of the loss is split evenly between model and data."""
    starts = []
    least, middle = runs.loss.min(), np.median(runs.loss)
    for share in SHARES:
        rest = np.log(max(middle - share * least, 1e-3 * middle) / 2)
        starts += [np.array([np.log(share * least), rest, rest, a, b]) for a in EXPONENTS for b in EXPONENTS]
    starts.sort(key=lambda x: _huber_objective(scale, x)[0])
    return starts[:REFINED_STARTS]
