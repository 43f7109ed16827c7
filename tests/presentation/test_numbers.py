"""Numbers as the page shows them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from weather.presentation import numbers
from weather.study.fits.intervals import Interval

THIN = numbers.THIN


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.number, 0.0, "0"),
        (numbers.number, 0.46431, "0.4643"),
        (numbers.number, -20.25, "−20.25"),
        (lambda value: numbers.number(value, 3), 4336.0, "4340"),
        (numbers.number, float("nan"), "not finite"),
        (numbers.number, 1.5e-12, f"1.5{THIN}×{THIN}10⁻¹²"),
        (numbers.power, 1e10, f"1{THIN}×{THIN}10¹⁰"),
        (numbers.power, 9.999e14, f"1{THIN}×{THIN}10¹⁵"),
        (numbers.significant, 1.5, "1.500"),
        (numbers.significant, 1234.0, "1234"),
        (numbers.count, 1_234_567, f"1.23{THIN}M"),
        (numbers.count, 999, "999"),
        (numbers.size, 5e9, f"5{THIN}GB"),
        (numbers.size, 12, f"12{THIN}B"),
        (numbers.share, 0.1234, f"12.3{THIN}%"),
        (numbers.duration, 12.34, f"12.3{THIN}s"),
        (numbers.duration, 3599, f"60{THIN}min"),
        (numbers.duration, 12_000, f"3{THIN}h 20{THIN}min"),
    ],
)
def test_numbers(write: Callable[[float], str], value: float, text: str) -> None:
    assert write(value) == text


def test_the_floor_of_an_interval_in_logarithms_is_zero() -> None:
    assert numbers.between(Interval(0.1, 1e-12, 0.213, 0.9)) == "0 to 0.213"
    assert numbers.raised("N", -0.42) == "N⁻⁰·⁴²"


@pytest.mark.parametrize(
    ("years", "text"),
    [([], ""), ([1997], "1997"), ([1997, 1990, 1991, 1991, 2000, 2001], "1990-1991, 1997, 2000-2001")],
)
def test_numbers_in_a_row_are_written_short(years: list[int], text: str) -> None:
    assert numbers.ranges(years) == text


def test_cores_are_written_as_linux_does() -> None:
    assert numbers.ranges({11, 0, 1, 2, 8, 10}, ",") == "0-2,8,10-11"
