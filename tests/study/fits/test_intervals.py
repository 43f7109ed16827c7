from collections.abc import Mapping

import numpy as np
import pytest

from tests.study.fits.published import LAW, TOKENS_AND_PARAMETERS, grid
from weather.errors import DataError
from weather.study.fits.intervals import by_budget, by_run, noise_of
from weather.study.fits.isoflop import fit_isoflops
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import ParametricFit, fit_huber, fit_projection

NOISE = 3e-3
NEXT_BUDGET = 1e13 * 4.0**7
STUDIES = 200
LEAST_COVERAGE = 0.88  # of intervals of 0.9: one standard deviation of a share among 200 is 0.02


def quantities(fit: ParametricFit) -> dict[str, float]:
    optimum = fit.law.optimum(NEXT_BUDGET, TOKENS_AND_PARAMETERS)
    return {
        "exponent": fit.law.parameter_exponent,
        "parameters": optimum.parameters,
        "loss": optimum.loss,
        "next loss": optimum.loss,
    }


def truth(noise: float) -> dict[str, float]:
    optimum = LAW.optimum(NEXT_BUDGET, TOKENS_AND_PARAMETERS)
    return {
        "exponent": LAW.parameter_exponent,
        "parameters": optimum.parameters,
        "loss": optimum.loss,
        "next loss": optimum.loss * np.exp(noise),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("fit", "by"), [(fit_huber, "run"), (fit_projection, "budget")])
def test_intervals_hold_the_truth_as_often_as_they_say(fit, by: str) -> None:  # type: ignore[no-untyped-def]
    held: dict[str, int] = {}
    for study in range(STUDIES):
        runs = grid(5, 6, NOISE, seed=study)
        found = fit(runs)

        def again(drawn: Observations, start=found.law) -> Mapping[str, float]:  # type: ignore[no-untyped-def]
            return quantities(fit(drawn, start))

        fitted = found.law.loss(runs.parameters, runs.samples)
        if by == "run":
            # The least and the largest of 19 draws hold a twentieth with probability 0.9: more would not hold more.
            intervals = by_run(runs, fitted, 5, again, draws=19, seed=study, next_run=("next loss",))
        else:
            intervals = by_budget(runs, again, noise=noise_of(runs, fitted, 5), next_run=("next loss",))
        coming = float(np.random.default_rng([study, 1]).normal(0, NOISE))
        for name, true in truth(coming).items():
            held[name] = held.get(name, 0) + (intervals[name].low <= true <= intervals[name].high)
    assert min(held.values()) >= LEAST_COVERAGE * STUDIES, held


def test_intervals_of_isoflop_optima_by_budget() -> None:
    runs = grid(5, 7, 1e-4, width=1.5)

    def evaluate(runs: Observations) -> dict[str, float]:
        return {"exponent": fit_isoflops(runs).parameters.exponent}

    interval = by_budget(runs, evaluate)["exponent"]
    assert interval.low < LAW.parameter_exponent < interval.high
    assert interval.high - interval.low < 0.1


def test_same_seed_same_interval() -> None:
    runs = grid(4, 5, NOISE)
    found = fit_projection(runs)
    fitted = found.law.loss(runs.parameters, runs.samples)

    def evaluate(drawn: Observations) -> dict[str, float]:
        return {"exponent": fit_projection(drawn, found.law).law.parameter_exponent}

    first, second, other = (by_run(runs, fitted, 5, evaluate, draws=20, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_noise_counts_the_coefficients() -> None:
    """On the safe side by sqrt(n / (n - p)) = 1.10; the standard deviation of a mean of 20 is 3 %."""
    found = []
    for seed in range(20):
        runs = grid(5, 6, NOISE, seed=seed)
        law = fit_projection(runs).law
        found.append(noise_of(runs, law.loss(runs.parameters, runs.samples), 5) / NOISE)
    assert np.mean(found) == pytest.approx(np.sqrt(30 / 25), abs=0.09)
    with pytest.raises(DataError, match="5 runs for 5 coefficients"):
        noise_of(runs.take(np.arange(5)), runs.loss[:5], 5)


def test_two_budgets_are_refused() -> None:
    with pytest.raises(DataError, match="three at least"):
        by_budget(grid(2, 6, NOISE), lambda runs: {"loss": 1.0})


def test_a_law_that_hangs_on_one_budget_is_refused() -> None:
    def evaluate(runs: Observations) -> dict[str, float]:
        if runs.flops.max() < 1e15:
            raise DataError("cannot be fitted")
        return {"loss": 1.0}

    with pytest.raises(DataError, match="fails without the budget of 2.56e"):
        by_budget(grid(5, 4, NOISE), evaluate)


def test_fits_that_fail_are_not_passed_over() -> None:
    calls = iter(range(1000))

    def evaluate(runs: Observations) -> dict[str, float]:
        if next(calls) % 3 == 2:
            raise DataError("cannot be fitted")
        return {"loss": 1.0}

    runs = grid(4, 4, NOISE)
    with pytest.raises(DataError, match="of 30 repeated fits failed"):
        by_run(runs, runs.loss * 1.001, 5, evaluate, draws=30)


def test_fits_that_err_upward_put_a_run_to_come_below_the_estimate() -> None:
    """Every repeated fit gives 1.5 times what its draw was made of: so does the first, probably."""
    runs = grid(4, 4, NOISE)
    values = iter([1.0] + [1.5] * 19)

    def evaluate(drawn: Observations) -> dict[str, float]:
        value = next(values)
        return {"coefficient": value, "run": value}

    found = by_run(runs, runs.loss * 1.001, 5, evaluate, draws=19, noise=1e-3, next_run=("run",))
    assert found["run"].high < 1 < found["coefficient"].low
