"""Intervals over correlated initial times: how often they hold the truth, and what they are made from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.verification.coverage import Case, Process, autoregressive, difference_case, mean_case, measure, rmse_case
from weather.verification.bootstrap import block_length, resampling, score_bounds, t_quantile


@pytest.mark.parametrize(
    ("make", "count", "memory", "least"),
    [
        (mean_case, 200, 0.0, 0.87),
        (mean_case, 60, 0.8, 0.86),
        (mean_case, 20, 0.8, 0.83),  # blocks alone: 0.65; as a series of 20 cannot show a memory of 5 as it is
        (rmse_case, 20, 0.5, 0.85),
        (rmse_case, 200, 0.9, 0.84),
        (difference_case, 60, 0.8, 0.85),
        (difference_case, 12, 0.0, 0.87),
    ],
)
def test_nine_of_ten_intervals_hold_the_truth(
    make: Callable[[Process, int], Case], count: int, memory: float, least: float
) -> None:
    """Of 600 series, so with a standard error of 0.012 by chance."""
    share, width = measure(make(Process(count, memory, 1.0, seed=0), 600))
    assert least <= share <= 0.97
    assert width < 1.6, "and none is so wide that it says nothing"


def test_blocks_see_a_weak_memory_that_lasts() -> None:
    """Half of the variance is noise: the lag-one autocorrelation alone would hold the truth in 60 of 100 cases."""
    share, _ = measure(mean_case(Process(200, 0.9, 0.5, seed=0), 600))
    assert share > 0.78


def test_times_without_memory_have_the_t_interval_of_their_mean() -> None:
    values = np.random.default_rng(5).standard_normal((30, 400))
    low, high = score_bounds([values], lambda mean: mean, length=1, replicates=4000, coverage=0.9)
    centred = values - values.mean(axis=0)
    # The correction by 1 / n leaves those no memory.
    without = (centred[1:] * centred[:-1]).sum(axis=0) < -(centred**2).sum(axis=0) / 30
    classical = 1.6991 * values.std(axis=0, ddof=1) / np.sqrt(30)  # t with 29 degrees of freedom
    ratio = (high - low) / 2 / classical
    # Percentiles of 4,000 resamples have 2 % or so by chance in each, which hardly stays in their mean.
    assert ratio[without].mean() == pytest.approx(1.0, abs=0.01)
    assert (ratio[~without] > 0.9).all() and ratio[~without].mean() > 1.05


def test_blocks_that_scatter_more_have_a_t_interval_of_their_own() -> None:
    """10 blocks: the scatter of resamples, times sqrt(10 / 9), times the t quantile of 9 degrees of freedom."""
    values = Process(200, 0.9, 0.5, seed=1).draw(100)
    low, high = score_bounds([values], lambda mean: mean, length=20, replicates=1000, coverage=0.9)
    scatter = (resampling(200, 20, 1000, seed=9) / 200 @ values).std(axis=0)
    expected = 1.8331 * np.sqrt(10 / 9) * scatter
    assert ((high - low) / 2 / expected).mean() == pytest.approx(1.0, abs=0.02)


def test_a_score_that_never_changes_has_an_interval_without_width() -> None:
    low, high = score_bounds([np.full((20, 2), 0.1)], np.sqrt, length=2, replicates=100, coverage=0.9)
    np.testing.assert_allclose([low, high], np.sqrt(0.1), rtol=1e-12)


def test_a_value_that_is_not_finite_leaves_its_own_score_without_bounds() -> None:
    values = np.random.default_rng(0).uniform(1, 2, size=(20, 3))
    values[4, 1] = np.inf
    for bound in score_bounds([values], np.sqrt, length=2, replicates=100, coverage=0.9):
        assert np.isfinite(bound).tolist() == [True, False, True]


@pytest.mark.parametrize(("freedom", "quantile"), [(2, 2.91999), (3, 2.35336), (5, 2.01505), (30, 1.69726)])
def test_t_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert float(t_quantile(1.6448536, freedom)) == pytest.approx(quantile, rel=3e-3)


@pytest.mark.parametrize("memory", [0.3, 0.5, 0.8])
def test_blocks_are_twice_as_long_as_is_best_for_the_variance(memory: float) -> None:
    """For AR(1) that is (6 n phi^2 / (1 - phi^2)^2)^(1/3) (Patton, Politis & White 2009, eq. 8 with D = 4/3 g^2)."""
    best = (6 * 400 * memory**2 / (1 - memory**2) ** 2) ** (1 / 3)
    assert block_length(autoregressive(300, 400, memory, np.random.default_rng(2))) == pytest.approx(2 * best, rel=0.35)


def test_every_time_is_drawn_equally_often_and_in_blocks() -> None:
    drawn = resampling(12, 4, 3000, seed=0)
    assert (drawn.sum(axis=1) == 12).all()
    np.testing.assert_allclose(drawn.mean(axis=0), 1.0, atol=0.1)  # 3,000 draws: 0.02 by chance, five times over
    together = np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1]
    assert together > 0.5 and np.corrcoef(drawn[:, 0], drawn[:, 6])[0, 1] < 0
    np.testing.assert_array_equal(drawn, resampling(12, 4, 3000, seed=0))


def test_series_that_say_nothing_have_blocks_of_one() -> None:
    assert block_length(np.ones((30, 2))) == 1
    assert block_length(np.full((30, 1), np.nan)) == 1
    assert block_length(autoregressive(9, 30, 0.99, np.random.default_rng(0))) <= 10, "at most a third of the series"
