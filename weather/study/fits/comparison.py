"""Which form of a law the data prefer: by information (AICc), and by what it foretells of budgets left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from weather.errors import DataError, WeatherError
from weather.study.fits.laws import Array
from weather.study.fits.observations import Observations

# Burnham & Anderson 2002, section 2.6: below 2 the forms have about the same support, above 10 one has nearly none.
SIMILAR_SUPPORT = 2.0
Fit = Callable[[Observations], Callable[[Observations], Array]]


def corrected_information(residuals: Array, coefficients: int) -> float:
    """AICc of a least-squares fit (Hurvich & Tsai 1989, Biometrika 76, 297); infinite where runs are too few for it.

    Args:
        residuals: of ln L, shape [run].
        coefficients: of the form; the variance of the noise is counted here.
    """
    count, chosen = len(residuals), coefficients + 1
    if count <= chosen + 1:
        return float("inf")
    variance = max(float((residuals**2).mean()), np.finfo(float).tiny)
    return float(count * np.log(variance) + 2 * chosen + 2 * chosen * (chosen + 1) / (count - chosen - 1))


@dataclass(frozen=True)
class BackTest:
    """What a form foretold of the largest budgets from the smaller ones.

    Attributes:
        flops: C of each run left out, shape [run].
        errors: ln of predicted over seen loss, shape [run].
    """

    flops: Array
    errors: Array

    @property
    def error(self) -> float:
        """Root of the mean squared error in ln L."""
        return float(np.sqrt((self.errors**2).mean()))


def back_test(runs: Observations, fit: Fit, left_out: int) -> BackTest:
    """Fit without the largest budgets, and predict them.

    Args:
        fit: fits runs, and gives a function that predicts the loss of runs.
        left_out: how many budgets.

    Raises:
        DataError: no budgets would be left, or the rest cannot be fitted.
    """
    budgets = runs.budgets()
    if left_out >= len(budgets):
        raise DataError(f"{left_out} of {len(budgets)} budgets left out", rule="some must stay to be fitted")
    kept = runs.take(np.concatenate(budgets[:-left_out]))
    unseen = runs.take(np.concatenate(budgets[-left_out:]))
    return BackTest(unseen.flops, np.log(fit(kept)(unseen) / unseen.loss))


@dataclass(frozen=True)
class Comparison:
    """Forms side by side.

    Attributes:
        information: AICc by form.
        foretold: root mean squared error of the back-test by form; forms that could not be fitted are missing.
        verdict: what follows, in one sentence.
    """

    information: dict[str, float]
    foretold: dict[str, float]
    verdict: str


def compare(
    residuals: Mapping[str, tuple[Array, int]], foretelling: Mapping[str, Callable[[], BackTest]], noise: float
) -> Comparison:
    """Compare forms that were fitted to the same runs.

    Args:
        residuals: of ln L and number of coefficients, by form.
        foretelling: makes the back-test of each form.
        noise: standard deviation of ln L between repeated runs, or of the residuals: differences below say nothing.
    """
    information = {form: corrected_information(*values) for form, values in residuals.items()}
    coefficients = {form: count for form, (_, count) in residuals.items()}
    foretold = {}
    for form, test in foretelling.items():
        try:
            foretold[form] = test().error
        except WeatherError:
            continue
    return Comparison(information, foretold, _verdict(information, coefficients, foretold, noise))


def _verdict(
    information: Mapping[str, float], coefficients: Mapping[str, int], foretold: Mapping[str, float], noise: float
) -> str:
    finite = sorted((value, form) for form, value in information.items() if np.isfinite(value))
    if len(finite) < 2:
        return f"too few runs to tell {_forms(information)} apart"
    best = finite[0][1]
    rivals = {}
    for value, other in finite[1:]:
        why = _undecided(best, other, value - finite[0][0], coefficients, foretold, noise)
        if why:
            rivals[other] = why
    if rivals:
        return f"the data cannot tell {_forms([best, *rivals])} apart: {next(iter(rivals.values()))}"
    second, other = finite[1]
    said = f"{best} is preferred: AICc is lower by {second - finite[0][0]:.1f} than that of {other}"
    if _advantage(best, other, foretold) > noise:
        said += f", and it foretells the largest budgets better ({foretold[best]:.2%} against {foretold[other]:.2%})"
    return said


def _undecided(
    best: str,
    other: str,
    difference: float,
    coefficients: Mapping[str, int],
    foretold: Mapping[str, float],
    noise: float,
) -> str:
    """Why a form is not ruled out by the one of the least AICc; empty if it is."""
    advantage = _advantage(best, other, foretold)
    if difference < SIMILAR_SUPPORT:
        return f"AICc differs by {difference:.1f}"
    if advantage < -noise:
        return (
            f"{best} has the lower AICc (by {difference:.1f}), "
            f"but {other} foretells the largest budgets better ({foretold[other]:.2%} against {foretold[best]:.2%})"
        )
    # That a coefficient is not needed is no evidence that it is zero.
    if coefficients[best] < coefficients[other] and advantage < noise:
        return f"{best} has fewer coefficients, and the runs do not need the others"
    return ""


def _advantage(best: str, other: str, foretold: Mapping[str, float]) -> float:
    return foretold[other] - foretold[best] if best in foretold and other in foretold else 0.0


def _forms(forms: Sequence[str] | Mapping[str, float]) -> str:
    names = list(forms)
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
