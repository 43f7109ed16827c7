import numpy as np
import pytest

from tests.study.fits.published import LAW, TOKENS_AND_PARAMETERS, cs336, grid
from weather.errors import DataError
from weather.study.fits.isoflop import fit_isoflops, fit_power_law


def test_gives_the_published_exponent_and_optima() -> None:
    fit = fit_isoflops(cs336())
    assert fit.parameters.exponent == pytest.approx(0.5146, abs=5e-5)
    assert fit.optimum(1e23).parameters == pytest.approx(9.11e10, rel=1e-3)
    assert fit.optimum(1e24).parameters == pytest.approx(2.98e11, rel=1e-3)
    assert not any(curve.flaw for curve in fit.curves)


def test_best_runs_give_the_published_exponent() -> None:
    runs = cs336()
    best = np.array([group[np.argmin(runs.loss[group])] for group in runs.budgets()])
    law = fit_power_law(runs.flops[best], runs.parameters[best])
    assert law.exponent == pytest.approx(0.4687, abs=5e-5)
    assert float(law(1e23)) == pytest.approx(7.0e10, rel=5e-3)
    assert float(law(1e24)) == pytest.approx(2.06e11, rel=5e-3)


def test_narrow_grids_about_the_optimum_give_the_law() -> None:
    """Near its minimum a curve is a parabola: there the exponents are those of the law."""
    fit = fit_isoflops(grid(5, 7, 0.0, width=1.3))
    assert fit.parameters.exponent == pytest.approx(LAW.parameter_exponent, abs=1e-3)
    for curve in fit.curves:
        assert curve.optimum is not None
        expected = LAW.optimum(curve.flops, TOKENS_AND_PARAMETERS)
        assert curve.optimum.parameters == pytest.approx(expected.parameters, rel=1e-2)
        assert curve.optimum.loss == pytest.approx(expected.loss, rel=1e-5)


@pytest.mark.parametrize("keep", [slice(0, 3), slice(0, 4), slice(3, 7), slice(4, 7)])
def test_a_minimum_that_is_not_bracketed_is_flagged(keep: slice) -> None:
    """The middle one of seven sizes is the best."""
    runs = grid(5, 7, 0.0)
    poor = runs.budgets()[2]
    index = np.concatenate([*runs.budgets()[:2], poor[keep], *runs.budgets()[3:]])
    fit = fit_isoflops(runs.take(index))
    assert [curve.flops for curve in fit.curves if curve.flaw] == [runs.flops[poor[0]]]
    assert "lies" in fit.curves[2].flaw
    # The flawed one has no part in the laws.
    others = runs.take(np.setdiff1d(np.arange(len(runs)), poor))
    assert fit.parameters == fit_isoflops(others).parameters


def test_a_curve_without_a_minimum_is_flagged() -> None:
    runs = grid(4, 5, 0.0)
    loss = runs.loss.copy()
    bent = runs.budgets()[1]
    loss[bent] = 1 - 0.01 * (np.arange(5) - 2.0) ** 2
    fit = fit_isoflops(runs.with_loss(loss))
    assert [curve.flaw for curve in fit.curves] == ["", "the curve has no minimum", "", ""]
    assert fit.curves[1].optimum is None


def test_one_budget_is_refused() -> None:
    with pytest.raises(DataError, match="1 of 1 budgets have a minimum"):
        fit_isoflops(grid(1, 7, 0.0))
