"""Speedup and efficiency of measured runs, and the serial share that made them."""

from __future__ import annotations

import numpy as np
import pytest

from weather.errors import DataError
from weather.study.fits.efficiency import scaling_efficiency

RANKS = np.array([1.0, 2.0, 4.0, 8.0])


def amdahl(ranks: np.ndarray, serial: float) -> np.ndarray:
    return 10.0 / (serial + (1 - serial) / ranks)


@pytest.mark.parametrize("serial", [0.0, 0.05, 0.4])
@pytest.mark.parametrize("ranks", [RANKS, RANKS[::-1] * 4], ids=["from one", "from four"])
def test_the_serial_share_is_found(serial: float, ranks: np.ndarray) -> None:
    found = scaling_efficiency(ranks, amdahl(ranks, serial))
    assert found.serial_share == pytest.approx(serial, abs=1e-9)
    assert found.ranks.tolist() == sorted(ranks)
    assert found.samples_per_second_at(100) == pytest.approx(float(amdahl(np.array(100.0), serial)))


def test_speedup_and_efficiency_are_relative_to_the_fewest_ranks() -> None:
    found = scaling_efficiency(np.array([8, 2, 4, 2]), np.array([24.0, 9.0, 16.0, 11.0]))
    assert found.samples_per_second.tolist() == [10.0, 16.0, 24.0]
    assert found.speedup == pytest.approx([1.0, 1.6, 2.4])
    assert found.efficiency == pytest.approx([1.0, 0.8, 0.6])


def test_faster_than_ideal_has_no_negative_share() -> None:
    found = scaling_efficiency(RANKS, RANKS**1.1)
    assert found.serial_share == 0.0 and found.efficiency[-1] > 1


def test_noise_of_two_percent_moves_the_share_little() -> None:
    generator = np.random.default_rng(0)
    shares = [
        scaling_efficiency(RANKS, amdahl(RANKS, 0.1) * generator.normal(1.0, 0.02, 4)).serial_share for _ in range(200)
    ]
    assert np.mean(shares) == pytest.approx(0.1, abs=0.005)  # type: ignore[arg-type]


def test_two_numbers_of_ranks_have_an_efficiency_and_no_fit() -> None:
    found = scaling_efficiency(np.array([1, 4]), np.array([1.0, 3.0]))
    assert found.efficiency.tolist() == [1.0, 0.75]
    assert found.serial_share is None and found.samples_per_second_at(8) is None
    assert scaling_efficiency(RANKS, RANKS, weak=True).serial_share is None


@pytest.mark.parametrize(
    ("ranks", "rates", "message"),
    [
        ([2, 2], [1.0, 1.0], r"all runs have 2 rank\(s\)"),
        ([], [], "no runs"),
        ([1, 2], [1.0, np.nan], "a rate or a number of ranks that is none"),
        ([1, 2], [1.0], "2 numbers of ranks with 1 rates"),
    ],
)
def test_what_cannot_be_compared_is_refused(ranks: list[int], rates: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        scaling_efficiency(np.array(ranks), np.array(rates))
