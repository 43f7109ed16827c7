"""Names and units of variables, and the standard atmosphere that says where their levels are."""

from __future__ import annotations

import pytest

from weather.data.quasigeostrophic import CHANNELS
from weather.diagnosis.envelopes import GRAVITY, Variable, envelope, standard_atmosphere, to_standard, variable


@pytest.mark.parametrize(
    ("pressure", "height", "temperature"),
    [(1013.25, 0, 288.15), (850, 1457, 278.7), (500, 5574, 251.9), (226.32, 11_000, 216.65), (54.75, 20_000, 216.65),
     (10, 31_055, 227.7)],
)  # fmt: skip
def test_standard_atmosphere_is_that_of_the_tables(pressure: float, height: float, temperature: float) -> None:
    geopotential, kelvin = standard_atmosphere(pressure)
    assert geopotential / GRAVITY == pytest.approx(height, abs=15) and kelvin == pytest.approx(temperature, abs=0.1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("t2m", Variable("t2m")),
        ("2m_temperature", Variable("t2m")),
        ("u10", Variable("u10")),
        ("u250", Variable("u", 250)),
        ("geopotential_500", Variable("z", 500)),
        ("temperature_850hPa", Variable("t", 850)),
        ("Q_700", Variable("q", 700)),
        ("vo750", Variable("vo", 750)),
        ("channel_3", None),
        ("t_s6", None),
        ("z5000", None),
        ("t3", None),
    ],
)
def test_names_say_variable_and_level(name: str, expected: Variable | None) -> None:
    assert variable(name) == expected


def test_units_are_converted_or_left_alone() -> None:
    msl, geopotential = Variable("msl"), Variable("z", 500)
    assert to_standard(msl, "hPa") == (100.0, 0.0) and to_standard(msl, "") == (1.0, 0.0)
    assert to_standard(Variable("t", 850), "degC") == (1.0, 273.15)
    assert to_standard(geopotential, "m") == (GRAVITY, 0.0) and to_standard(geopotential, "furlong") is None


@pytest.mark.parametrize(
    ("name", "low", "high", "mean"),
    # Round figures of what occurs on the globe, extremes and means.
    [("z500", 45_000, 59_500, 54_100), ("z850", 9_000, 16_900, 13_750), ("z1000", -6_500, 4_800, 750),
     ("t850", 215, 317, 275), ("t500", 215, 280, 253), ("t50", 177, 255, 212), ("msl", 91_000, 108_500, 101_000),
     ("q850", 0, 0.025, 0.005), ("u250", -70, 125, 13), ("tcwv", 0, 85, 18)],
)  # fmt: skip
def test_real_weather_is_inside(name: str, low: float, high: float, mean: float) -> None:
    known = variable(name)
    assert known is not None
    bounds = envelope(known)
    assert bounds.low <= low and high <= bounds.high and bounds.mean_low <= mean <= bounds.mean_high


def test_all_channels_that_are_made_here_are_known() -> None:
    for name, unit in CHANNELS.items():
        known = variable(name)
        assert known is not None and to_standard(known, unit) == (1.0, 0.0)
