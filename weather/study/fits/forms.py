"""Whether the runs need all five coefficients of L(N, D): the law beside itself without E, and with one exponent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, nnls

from weather.study.fits.comparison import Comparison, back_test, compare
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import EXPONENTS, check

LEFT_OUT = 1  # largest budgets of the back-test: with more, few studies would keep enough to fit


@dataclass(frozen=True)
class Form:
    """A form of L(N, D).

    Attributes:
        irreducible: whether there is an E.
        exponents: 2, or 1 where N and D share theirs.
    """

    irreducible: bool
    exponents: int

    @property
    def coefficients(self) -> int:
        return 2 + self.irreducible + self.exponents


FORMS = {
    "E + A / N^alpha + B / D^beta": Form(True, 2),
    "A / N^alpha + B / D^beta": Form(False, 2),
    "E + A / N^alpha + B / D^alpha": Form(True, 1),
}


def fit_form(runs: Observations, form: Form) -> LossLaw:
    """Least squares of the relative error, by variable projection; E is 0 and exponents are equal where the form says.

    Raises:
        DataError: too few runs, or they vary in one direction only.
    """
    check(runs)
    log_n, log_d = np.log(runs.parameters), np.log(runs.samples)
    mean_n, mean_d = log_n.mean(), log_d.mean()
    constant = np.full(len(runs), float(form.irreducible))

    def coefficients(log_exponents: Array) -> tuple[Array, float]:
        alpha, beta = np.exp(log_exponents[0]), np.exp(log_exponents[-1])
        terms = [constant, np.exp(-alpha * (log_n - mean_n)), np.exp(-beta * (log_d - mean_d))]
        return nnls(np.stack(terms, axis=1) / runs.loss[:, None], np.ones(len(runs)))

    starts = [np.log((a, b)[: form.exponents]) for a in EXPONENTS for b in EXPONENTS[:: 1 if form.exponents > 1 else 6]]
    found = minimize(
        lambda x: coefficients(x)[1],
        min(starts, key=lambda x: coefficients(x)[1]),
        method="Nelder-Mead",
        options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 2000},
    )
    (irreducible, model, data), _ = coefficients(found.x)
    alpha, beta = float(np.exp(found.x[0])), float(np.exp(found.x[-1]))
    return LossLaw(
        float(irreducible) * form.irreducible,
        float(model * np.exp(alpha * mean_n)),
        float(data * np.exp(beta * mean_d)),
        alpha,
        beta,
    )


def compare_forms(runs: Observations, seed_noise: float) -> Comparison:
    """The forms side by side, by information and by what they foretell of the largest budget.

    Args:
        runs: that saw their data once.
        seed_noise: standard deviation of ln L between repeats; 0 where it is not known.

    Raises:
        DataError: the runs cannot be fitted.
    """

    def foretell(form: Form) -> Callable[[Observations], Callable[[Observations], Array]]:
        def fit(kept: Observations) -> Callable[[Observations], Array]:
            law = fit_form(kept, form)
            return lambda unseen: law.loss(unseen.parameters, unseen.samples)

        return fit

    residuals = {}
    for name, form in FORMS.items():
        law = fit_form(runs, form)
        residuals[name] = (np.log(runs.loss / law.loss(runs.parameters, runs.samples)), form.coefficients)
    tests = {
        name: lambda form=form: back_test(runs, foretell(form), LEFT_OUT)  # type: ignore[misc]
        for name, form in FORMS.items()
    }
    least = min(float(np.sqrt((values**2).mean())) for values, _ in residuals.values())
    return compare(residuals, tests, max(seed_noise, least))
