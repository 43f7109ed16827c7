"""Intervals over correlated initial times: how often they hold the truth, and what they are made from."""

from __future__ import annotations

import numpy as np
import pytest

from weather.verification.bootstrap import block_length, quantile_levels, resampling


def autoregressive(series: int, count: int, memory: float, seed: int) -> np.ndarray:
    """[count, series] of AR(1) with mean 0 and variance 1."""
    generator = np.random.default_rng(seed)
    values = np.empty((count, series))
    values[0] = generator.standard_normal(series)
    for step in range(1, count):
        noise = generator.standard_normal(series) * np.sqrt(1 - memory**2)
        values[step] = memory * values[step - 1] + noise
    return values


def coverage(values: np.ndarray, length: int) -> float:
    """How many 90 % intervals of the mean hold 0, which is the mean."""
    drawn = resampling(len(values), length, 500, seed=1) / len(values)
    low, high = np.quantile(drawn @ values, quantile_levels(0.9, len(values), length), axis=0)
    return float(((low <= 0) & (high >= 0)).mean())


@pytest.mark.parametrize(
    ("count", "memory", "least"),
    [(400, 0.0, 0.87), (400, 0.5, 0.86), (400, 0.8, 0.86), (60, 0.0, 0.87), (60, 0.5, 0.84)],
)
def test_nine_of_ten_intervals_hold_the_truth(count: int, memory: float, least: float) -> None:
    """Of 1,000 series, so 0.9 +- 0.02 by chance; blocks cost some coverage, the more the fewer blocks there are."""
    values = autoregressive(1000, count, memory, seed=0)
    assert least <= coverage(values, block_length(values)) <= 0.93


def test_single_times_instead_of_blocks_would_be_far_too_sure() -> None:
    assert coverage(autoregressive(1000, 400, 0.8, seed=0), 1) < 0.5


@pytest.mark.parametrize("memory", [0.3, 0.5, 0.8])
def test_blocks_are_twice_as_long_as_is_best_for_the_variance(memory: float) -> None:
    """For AR(1) that is (6 n phi^2 / (1 - phi^2)^2)^(1/3) (Patton, Politis & White 2009, eq. 8 with D = 4/3 g^2)."""
    best = (6 * 400 * memory**2 / (1 - memory**2) ** 2) ** (1 / 3)
    assert block_length(autoregressive(300, 400, memory, seed=2)) == pytest.approx(2 * best, rel=0.35)


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
    assert block_length(autoregressive(9, 30, 0.99, seed=0)) <= 10, "at most a third of the series"
