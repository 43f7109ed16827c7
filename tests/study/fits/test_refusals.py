"""Runs that determine no law are refused with their reason, and never end in a number or in a traceback."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from weather.errors import DataError
from weather.study.fits.fit import StudyFit, _compare_compute, _isoflop_exponent, fit_study
from weather.study.fits.isoflop import fit_isoflops
from weather.study.fits.laws import Array, LossLaw
from weather.study.fits.observations import Observations

pytestmark = pytest.mark.filterwarnings("error")
LAW = LossLaw(0.5, 20.0, 30.0, 0.3, 0.28)
SIZES = np.geomspace(1e5, 1e7, 6)
Loss = Callable[[Array, Array, Array], Array]


def runs(loss: Loss, budgets: tuple[float, ...] = (1e14, 4e14, 1.6e15)) -> Observations:
    flops, parameters = (each.ravel() for each in np.meshgrid(budgets, SIZES, indexing="ij"))
    samples = flops / (6 * parameters)
    return Observations(parameters, samples, flops, loss(parameters, samples, flops), samples)


def study(observed: Observations) -> StudyFit:
    return fit_study(observed, flops=1e17, level=0.9, draws=20, seed=0)


def noise(deviation: float) -> Array:
    return np.asarray(np.random.default_rng(0).normal(0.0, deviation, 3 * len(SIZES)))


@pytest.mark.parametrize(
    ("loss", "huber", "projection"),
    [
        (lambda n, d, c: np.full_like(n, 1.0), "all the same", "all the same"),
        (lambda n, d, c: 0.1 * (n / 1e6) ** 0.2, "does not fall with", "does not fall with|do not determine"),
        (lambda n, d, c: LAW.loss(n, d) * np.exp(noise(1.0)), "does not|do not", "does not|do not"),
    ],
)
def test_what_no_law_describes_is_refused(loss: Loss, huber: str, projection: str) -> None:
    fit = study(runs(loss))
    assert fit.laws == {} and fit.isoflops is None and fit.compute is None
    for method, said in (("huber", huber), ("projection", projection)):
        assert any(words in fit.refused[method] for words in said.split("|")), fit.refused[method]


def test_a_loss_that_rises_with_compute_is_said() -> None:
    observed = runs(lambda n, d, c: 0.1 * (c / 1e14) ** 0.1 + 0.01 * np.log(n / 1e6) ** 2)
    with pytest.raises(DataError, match="does not fall with C"):
        _compare_compute(fit_isoflops(observed), 0.0)
    with pytest.raises(DataError, match="must be positive"):  # all minima lie at the same size
        _isoflop_exponent(observed, 0.9)


def test_one_budget_asks_for_another() -> None:
    fit = study(runs(lambda n, d, c: LAW.loss(n, d), (1e14,)))
    assert all("one budget" in fit.refused[method] for method in ("huber", "projection"))
    assert "add budgets" in fit.refused["isoflops"]


def test_two_budgets_give_a_law_without_intervals_by_budget() -> None:
    fit = study(runs(lambda n, d, c: LAW.loss(n, d) * np.exp(noise(2e-3)[: len(n)]), (1e14, 4e14)))
    assert set(fit.laws) == {"huber", "projection"} and fit.laws["huber"].by_budget is None
    assert "three at least" in fit.refused["isoflop intervals"] and "3 coefficients" in fit.refused["compute"]


def test_a_curve_that_is_flat_within_its_scatter_has_no_part() -> None:
    """The same scatter about curves of 5 % depth and of 0.01 %."""

    def loss(depth: float) -> Loss:
        return lambda n, d, c: 1 + depth * (np.log(n / 1e6) / np.log(10)) ** 2 + scatter

    scatter = 1e-3 * np.tile([1.0, -1.0, -1.0, 1.0, 1.0, -1.0], 3)
    assert [curve.flaw for curve in fit_isoflops(runs(loss(0.05))).curves] == ["", "", ""]
    with pytest.raises(DataError, match="flat within the scatter"):
        fit_isoflops(runs(loss(1e-4)))


def test_runs_of_any_flops_are_no_budgets() -> None:
    """Neighbours lie close together, and so form a chain; its ends do not share a budget."""
    random = np.random.default_rng(0)
    flops, parameters = np.geomspace(1e14, 1e15, 100), np.exp(random.uniform(np.log(1e5), np.log(1e7), 100))
    samples = flops / (6 * parameters)
    observed = Observations(parameters, samples, flops, LAW.loss(parameters, samples), samples)
    with pytest.raises(DataError, match="no one budget: their FLOPs differ by 900%"):
        fit_isoflops(observed)


def test_a_law_that_does_not_fall_has_no_optimum() -> None:
    for law in (LossLaw(0.5, 20.0, 0.0, 0.3, 0.28), LossLaw(0.5, 20.0, 30.0, -0.3, 0.28)):
        with pytest.raises(DataError, match="does not fall with"):
            law.optimum(1e17, 6.0)
