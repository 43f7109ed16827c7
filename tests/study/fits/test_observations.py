import numpy as np
import pytest

from tests.study.fits.published import grid
from weather.errors import DataError
from weather.study.fits.observations import Observations


def test_budgets_gather_runs_that_end_on_a_whole_step() -> None:
    flops = np.array([1e15, 4.1e15, 1.01e15, 4e15, 0.99e15, 1.6e16])
    ones = np.ones(6)
    assert [list(group) for group in Observations(ones, ones, flops, ones, ones).budgets()] == [[0, 2, 4], [1, 3], [5]]


def test_flops_for_each_parameter_and_sample() -> None:
    assert grid(3, 4, 0.0).flops_per_product == pytest.approx(6.0)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_values_that_no_run_has_are_refused(value: float) -> None:
    good = np.ones(3)
    with pytest.raises(DataError, match="loss of run 1 is"):
        Observations(good, good, good, np.array([1.0, value, 1.0]), good)


def test_one_value_for_each_run() -> None:
    with pytest.raises(DataError, match="samples has shape"):
        Observations(np.ones(3), np.ones(2), np.ones(3), np.ones(3), np.ones(3))
