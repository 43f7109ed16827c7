import numpy as np
import pytest

from weather.study.fits.repeats import seed_noise


def test_pools_the_scatter_of_points_that_were_trained_more_than_once() -> None:
    """(0.01^2 + 0.01^2) of two runs about their mean, and (2 * 0.03^2) of three, over 1 + 2 degrees of freedom."""
    loss = np.exp([-0.01, 0.01, 1 - 0.03, 1.0, 1 + 0.03, 7.0])
    found = seed_noise(loss, [np.array([0, 1]), np.array([2, 3, 4]), np.array([5])])
    assert found is not None
    assert found.deviation == pytest.approx(np.sqrt((2 * 0.01**2 + 2 * 0.03**2) / 3))
    assert (found.points, found.runs, found.degrees_of_freedom) == (2, 5, 3)


def test_is_not_known_without_repeats() -> None:
    assert seed_noise(np.ones(2), [np.array([0]), np.array([1])]) is None
