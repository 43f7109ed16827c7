import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from weather.study.fits.laws import LossLaw, PowerLaw, RepeatedDataLaw

# Muennighoff et al. 2023, as their repository gives it.
C4 = RepeatedDataLaw(
    LossLaw(np.exp(0.6254804), np.exp(6.255414), np.exp(7.3049974), 0.3526596, 0.3526596), 15.387756, 5.309743
)


def test_power_law() -> None:
    assert PowerLaw(3.0, -0.5, 1.0)([4.0, 9.0]) == pytest.approx([2.5, 2.0])


@pytest.mark.parametrize("law", [LossLaw(0.02, 5.0, 8.0, 0.34, 0.28), LossLaw(1.69, 406.4, 410.7, 0.34, 0.28)])
def test_optimum_is_the_least_loss_of_the_budget(law: LossLaw) -> None:
    flops, k = 1e20, 6.0
    found = minimize_scalar(
        lambda x: float(law.loss(np.exp(x), flops / k / np.exp(x))), bounds=(5, 35), method="bounded"
    )
    optimum = law.optimum(flops, k)
    assert optimum.loss <= found.fun
    assert np.log(optimum.parameters) == pytest.approx(found.x, abs=1e-3)  # the minimum is flat
    assert optimum.parameters * optimum.samples * k == pytest.approx(flops)
    steeper = law.optimum(flops * 100, k).parameters / optimum.parameters
    assert np.log(steeper) / np.log(100) == pytest.approx(law.parameter_exponent)


def test_repeated_data_gives_the_published_losses() -> None:
    assert float(C4.loss(6.34e9, 242e9, 25e9)) == pytest.approx(2.2256440889984477, rel=1e-12)
    assert float(C4.loss(8.67e9, 178e9, 25e9)) == pytest.approx(2.2269634075087867, rel=1e-12)


def test_repeated_data_gives_the_published_optimum() -> None:
    """Theirs is the best of a grid; the minimum is flat, and ours must not lie above it."""
    optimum = C4.optimum(1e22, 6.0, 25e9)
    assert optimum.samples == pytest.approx(2.3733695547755e11, rel=1e-3)
    assert optimum.parameters == pytest.approx(7.02236473588e9, rel=1e-3)
    assert optimum.loss <= float(C4.loss(7.02236473588e9, 2.3733695547755e11, 25e9))


def test_data_that_do_not_repeat_leave_the_law_as_it_is() -> None:
    """A size that the data serve, seen once each."""
    parameters = 0.5 * float(C4.useful_parameters(1e10))
    assert float(C4.loss(parameters, 1e10, 1e10)) == pytest.approx(float(C4.law.loss(parameters, 1e10)), rel=1e-12)


def test_a_repetition_is_worth_less_than_new_data() -> None:
    once, again, new = C4.loss(1e8, [1e10, 4e10, 4e10], [1e10, 1e10, 4e10])
    assert new < again < once
