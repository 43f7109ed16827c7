from dataclasses import replace

import numpy as np
import pytest

from tests.study.fits.published import LAW, cs336, grid, hoffmann
from weather.errors import DataError
from weather.study.fits.laws import LossLaw
from weather.study.fits.parametric import fit_huber, fit_projection

FITS = [fit_huber, fit_projection]


def coefficients(law: LossLaw) -> list[float]:
    return [
        law.irreducible,
        law.model_coefficient,
        law.data_coefficient,
        law.model_exponent,
        law.data_exponent,
    ]


@pytest.mark.parametrize("fit", FITS)
def test_finds_the_law_that_made_the_runs(fit) -> None:  # type: ignore[no-untyped-def]
    assert coefficients(fit(grid(5, 6, 0.0)).law) == pytest.approx(coefficients(LAW), rel=1e-4)


@pytest.mark.parametrize("fit", FITS)
def test_finds_the_law_of_published_curves(fit) -> None:  # type: ignore[no-untyped-def]
    """They were computed from these coefficients: the residuals are of the order of rounding."""
    found = fit(cs336())
    assert coefficients(found.law) == pytest.approx([2.69, 1606.4, 3210.7, 0.34, 0.36], rel=1e-5)
    assert np.abs(found.residuals).max() < 1e-7


def test_agrees_with_the_published_fit_of_the_same_points() -> None:
    """Besiroglu et al. 2024 read 240 points off the same figure; standard errors are theirs (table 1)."""
    law = fit_projection(hoffmann()).law
    assert law.irreducible == pytest.approx(1.8172, abs=2 * 0.03)
    assert law.model_exponent == pytest.approx(0.3478, abs=2 * 0.02)
    assert law.data_exponent == pytest.approx(0.3658, abs=2 * 0.02)


def test_huber_is_at_the_least_of_many_random_starts() -> None:
    runs, random = hoffmann(), np.random.default_rng(0)
    found = fit_huber(runs)
    for _ in range(20):
        start = LossLaw(
            random.uniform(0.5, 2.0),
            np.exp(random.uniform(2, 9)),
            np.exp(random.uniform(2, 9)),
            random.uniform(0.1, 0.8),
            random.uniform(0.1, 0.8),
        )
        assert fit_huber(runs, start).objective >= found.objective * (1 - 1e-6)


def test_one_diverged_run_does_not_move_the_robust_fit() -> None:
    runs = grid(5, 6, 1e-4)
    loss = runs.loss.copy()
    loss[7] *= 1.5
    robust, squares = (fit(runs.with_loss(loss)).law.parameter_exponent for fit in FITS)
    assert abs(robust - LAW.parameter_exponent) < 0.005 < abs(squares - LAW.parameter_exponent)


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(DataError, match="5 coefficients"):
        fit_huber(grid(1, 5, 0.0))


@pytest.mark.parametrize("fit", FITS)
def test_runs_along_one_line_are_refused(fit) -> None:  # type: ignore[no-untyped-def]
    """One run a budget, each at its optimum: N and D rise together."""
    with pytest.raises(DataError, match="do not vary independently"):
        fit(grid(8, 1, 0.0, width=1.0))


@pytest.mark.parametrize("fit", [fit_huber, fit_projection])
@pytest.mark.parametrize("irreducible", [0.0, 0.02])
def test_a_repeated_fit_agrees_with_the_whole_one(fit, irreducible: float) -> None:  # type: ignore[no-untyped-def]
    """Its tolerances are wider: what it says of a run ahead differs by less than a tenth of the noise of 1 %."""
    law = replace(LAW, irreducible=irreducible)
    start = fit(grid(4, 5, 0.01, law=law)).law
    differences = []
    for seed in range(1, 6):
        runs = grid(4, 5, 0.01, seed, law=law)
        size, samples = float(runs.parameters.max()), 2 * float(runs.samples.max())
        differences.append(np.log(fit(runs, start).law.loss(size, samples) / fit(runs).law.loss(size, samples)))
    assert np.sqrt(np.mean(np.square(differences))) < 1e-3, differences


def test_an_irreducible_loss_comes_back_in_a_repeated_fit() -> None:
    """Begun at an E that has vanished; there the objective has no slope in ln E."""
    runs = grid(5, 6, 1e-4)
    assert fit_huber(runs, replace(LAW, irreducible=0.0)).law.irreducible == pytest.approx(LAW.irreducible, rel=0.05)
