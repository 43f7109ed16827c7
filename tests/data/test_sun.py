"""The sun's course against almanac values."""

from __future__ import annotations

import numpy as np
import pytest

from weather.data.sun import day_angle, declination, distance_factor, equation_of_time, year_angle


def times(*text: str) -> np.ndarray:
    return np.array(text, "datetime64[s]")


def test_angles_of_the_day_and_the_year() -> None:
    np.testing.assert_allclose(
        day_angle(times("2001-03-04T00", "1999-12-31T06", "2024-02-29T18:30")), np.pi * np.array([0, 0.5, 18.5 / 12])
    )
    # A leap year has 366 days, and its 31 December is the 366th; before 1970 the count goes backwards.
    days = times("2023-12-31", "2024-12-31", "1964-12-31T12", "1900-07-01", "2000-01-01")
    np.testing.assert_allclose(
        year_angle(days), 2 * np.pi * np.array([364 / 365, 365 / 366, 365.5 / 366, 181 / 365, 0])
    )


@pytest.mark.parametrize(
    ("when", "degrees"),
    [("2021-06-21T03", 23.44), ("2021-12-21T16", -23.44), ("2021-03-20T09", 0.0), ("2021-09-22T19", 0.0)],
)
def test_declination_at_solstices_and_equinoxes(when: str, degrees: float) -> None:
    found = np.rad2deg(declination(year_angle(times(when))))
    assert found == pytest.approx(degrees, abs=0.6)  # the series is of a mean year


@pytest.mark.parametrize(
    ("when", "minutes"), [("2021-02-11", -14.2), ("2021-05-14", 3.6), ("2021-07-26", -6.5), ("2021-11-03", 16.4)]
)
def test_equation_of_time_at_its_extremes(when: str, minutes: float) -> None:
    """An hour angle of 15 degrees is an hour."""
    found = np.rad2deg(equation_of_time(year_angle(times(when)))) * 4
    assert found == pytest.approx(minutes, abs=0.6)  # 35 s is the largest error of the series


def test_distance_at_perihelion_and_aphelion() -> None:
    """(1 -/+ 0.0167)^-2 of an orbit with eccentricity 0.0167."""
    found = distance_factor(year_angle(times("2021-01-02", "2021-07-05")))
    assert found == pytest.approx([1 / 0.9833**2, 1 / 1.0167**2], abs=1e-3)
