from collections.abc import Callable

import numpy as np
import pytest

from tests.study.fits.published import grid
from weather.errors import DataError
from weather.study.fits.comparison import back_test, compare, corrected_information
from weather.study.fits.compute import fit_compute
from weather.study.fits.laws import Array
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import fit_projection


def by_compute(offset: bool) -> Callable[[Observations], Callable[[Observations], Array]]:
    return lambda runs: (lambda law: lambda unseen: law(unseen.flops))(
        fit_compute(runs.flops, runs.loss, offset=offset).law
    )


def optima(budgets: int, noise: float) -> Observations:
    return grid(budgets, 1, noise, width=1.0)


def verdict(runs: Observations, noise: float) -> str:
    fits = {"without offset": False, "with offset": True}
    residuals = {
        name: ((fit := fit_compute(runs.flops, runs.loss, offset=offset)).residuals, fit.coefficients)
        for name, offset in fits.items()
    }
    tests = {name: lambda offset=offset: back_test(runs, by_compute(offset), 2) for name, offset in fits.items()}
    return compare(residuals, tests, noise).verdict


def test_information_is_the_formula_by_hand() -> None:
    residuals = np.array([0.1, -0.1, 0.2, -0.2, 0.0])
    # n = 5, variance = 0.02, k = 2 (one coefficient and the variance): 5 ln 0.02 + 4 + 12 / 2
    assert corrected_information(residuals, 1) == pytest.approx(5 * np.log(0.02) + 4 + 6)
    assert corrected_information(residuals, 3) == np.inf


def test_back_test_of_the_right_law_foretells() -> None:
    test = back_test(
        grid(6, 6, 0.0), lambda runs: lambda unseen: fit_projection(runs).law.loss(unseen.parameters, unseen.samples), 2
    )
    assert len(test.flops) == 12
    assert test.error < 1e-6


def test_back_test_of_a_wrong_law_misses() -> None:
    assert back_test(optima(8, 0.0), by_compute(offset=False), 2).error > 0.01


def test_back_test_must_leave_budgets() -> None:
    with pytest.raises(DataError, match="3 of 3 budgets left out"):
        back_test(grid(3, 4, 0.0), by_compute(offset=False), 3)


def test_clear_data_prefer_the_right_form() -> None:
    said = verdict(optima(9, 1e-4), 1e-4)
    assert said.startswith("with offset is preferred")
    assert "foretells the largest budgets better" in said


def test_noise_makes_forms_indistinguishable() -> None:
    """Few budgets under noise that is larger than the difference of the forms: fewer coefficients are no evidence."""
    assert "cannot tell without offset and with offset apart" in verdict(optima(7, 0.08), 0.08)


def test_too_few_runs_are_said() -> None:
    assert "too few runs" in verdict(optima(4, 0.0), 0.0)


def test_every_form_that_is_not_ruled_out_is_named() -> None:
    """The largest form is third by AICc, but holds the first in itself: what is not needed is not shown to be zero."""
    base = np.random.default_rng(0).normal(0, 0.02, 30)
    residuals = {"few": (base, 4), "other": (1.04 * base, 4), "all": (base, 5)}
    said = compare(residuals, {}, 0.02).verdict
    assert said.startswith("the data cannot tell few and all apart")
