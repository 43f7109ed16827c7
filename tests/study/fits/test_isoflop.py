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
    assert not fit.weighted


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


def test_a_budget_that_scatters_more_counts_less() -> None:
    """The least budget's runs scatter a hundred times more; weights halve what that costs on average over studies."""
    errors: dict[str, list[float]] = {"weighted": [], "alike": []}
    for seed in range(30):
        runs = grid(5, 7, 1e-4, seed, width=1.5)
        noise = np.zeros(len(runs))
        noise[:7] = np.random.default_rng(seed).normal(0, 1e-3, 7)
        fit = fit_isoflops(runs.with_loss(runs.loss * np.exp(noise)))
        good = [curve for curve in fit.curves if curve.optimum is not None and not curve.flaw]
        sizes = np.array([curve.optimum.parameters for curve in good if curve.optimum is not None])
        alike = fit_power_law(np.array([curve.flops for curve in good]), sizes)
        errors["weighted"].append(fit.parameters.exponent - LAW.parameter_exponent)
        errors["alike"].append(alike.exponent - LAW.parameter_exponent)
    weighted, alike_error = (float(np.sqrt(np.mean(np.square(values)))) for values in errors.values())
    assert weighted < 0.7 * alike_error, (weighted, alike_error)


def test_the_error_of_a_minimum_is_its_scatter() -> None:
    runs = grid(3, 7, 0.0, width=1.5)
    found, said = [], []
    for seed in range(300):
        noisy = runs.with_loss(runs.loss * np.exp(np.random.default_rng(seed).normal(0, 1e-4, len(runs))))
        curve = fit_isoflops(noisy).curves[0]
        assert curve.optimum is not None
        found.append(np.log(curve.optimum.parameters))
        said.append(curve.error**2)
    # The standard deviation of 300 is known to 4 %.
    assert np.sqrt(np.mean(said)) == pytest.approx(np.std(found), rel=0.15)
