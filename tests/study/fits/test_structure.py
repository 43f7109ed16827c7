import numpy as np

from tests.study.fits.published import grid
from weather.study.fits.foretelling import RunAhead, foretell
from weather.study.fits.observations import Observations
from weather.study.fits.parametric import fit_projection
from weather.study.fits.structure import chance_of_structure

NOISE = 3e-3
OFFSETS = np.repeat([0.0, 0.02, -0.02, 0.02, -0.02], 6)


def chance(runs: Observations) -> float:
    return chance_of_structure(runs, fit_projection(runs).law)


def test_budgets_that_err_together_are_seen() -> None:
    runs = grid(5, 6, NOISE)
    assert chance(runs.with_loss(runs.loss * np.exp(OFFSETS))) < 1e-3


def test_noise_is_taken_for_structure_as_often_as_the_chance_says() -> None:
    """A share of 0.2 among 100 has a standard deviation of 0.04."""
    chances = np.array([chance(grid(5, 6, NOISE, seed)) for seed in range(100)])
    assert 0.08 < (chances < 0.2).mean() < 0.32
    assert 0.38 < (chances < 0.5).mean() < 0.65


def test_too_few_runs_show_no_structure() -> None:
    assert chance(grid(2, 3, NOISE)) == 1.0


def test_a_prediction_is_wider_where_budgets_err_together() -> None:
    runs = grid(5, 6, NOISE, seed=3)
    ahead = RunAhead(float(runs.flops.max() * 2))
    even = foretell(runs, ahead, level=0.9, draws=20, seed=0)
    uneven = foretell(runs.with_loss(runs.loss * np.exp(OFFSETS)), ahead, level=0.9, draws=20, seed=0)
    assert not [remark for remark in even.remarks if "whole budgets" in remark]
    assert [remark for remark in uneven.remarks if "whole budgets" in remark]
    assert np.log(uneven.loss.width) > 4 * np.log(even.loss.width)
