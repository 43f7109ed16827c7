"""What values a weather variable can have, by its name: in which unit, between which bounds, with which mean.

Bounds are wide: to be outside means another unit, another variable or a fill value, not rare weather. Sources: the
extremes of WMO's archive (wmo.asu.edu: -89.2 and 56.7 degrees C, 870 and 1083.8 hPa, 1.825 m of rain in a day); the
U.S. Standard Atmosphere (1976) for geopotential and temperature of pressure levels, with the distance that polar night
and tropics keep from it; names and units of ERA5 (Hersbach et al. 2020) and WeatherBench 2 (Rasp et al. 2024).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

GRAVITY = 9.80665  # m s-2
GAS_CONSTANT = 287.053  # of dry air, J kg-1 K-1
# Layers of the U.S. Standard Atmosphere: height of the base (m), temperature there (K), lapse (K/m).
LAYERS = ((0.0, 288.15, -0.0065), (11e3, 216.65, 0.0), (20e3, 216.65, 0.001), (32e3, 228.65, 0.0028))
SURFACE_PRESSURE = 1013.25  # hPa


@dataclass(frozen=True)
class Variable:
    """A variable as its name says: kind is z, t, u, t2m, msl, ...; level in hPa, or None at the surface."""

    kind: str
    level: int | None = None


@dataclass(frozen=True)
class Envelope:
    """Bounds of single values and of the mean over an archive, in `units[0]`; all of `units` mean the same."""

    units: tuple[str, ...]
    low: float
    high: float
    mean_low: float
    mean_high: float


KELVIN = ("K", "kelvin")
SPEED = ("m s-1", "m/s", "m s**-1", "ms-1")
PASCAL = ("Pa", "pascal")
RATE = ("s-1", "1/s", "s**-1")
SURFACE = {
    "t2m": Envelope(KELVIN, 173.0, 335.0, 225.0, 312.0),
    "d2m": Envelope(KELVIN, 150.0, 315.0, 215.0, 305.0),
    "sst": Envelope(KELVIN, 268.0, 312.0, 268.0, 305.0),
    "skt": Envelope(KELVIN, 165.0, 360.0, 225.0, 315.0),
    "u10": Envelope(SPEED, -100.0, 100.0, -15.0, 15.0),
    "v10": Envelope(SPEED, -100.0, 100.0, -15.0, 15.0),
    "u100m": Envelope(SPEED, -120.0, 120.0, -20.0, 20.0),
    "v100m": Envelope(SPEED, -120.0, 120.0, -20.0, 20.0),
    "msl": Envelope(PASCAL, 85e3, 110e3, 98e3, 104e3),
    "sp": Envelope(PASCAL, 30e3, 110e3, 60e3, 104e3),
    "tcwv": Envelope(("kg m-2", "kg m**-2", "mm"), -1.0, 120.0, 0.0, 70.0),
    "tcw": Envelope(("kg m-2", "kg m**-2", "mm"), -1.0, 160.0, 0.0, 75.0),
    "tp": Envelope(("m",), -1e-3, 2.0, -1e-4, 0.1),
    "tcc": Envelope(("(0 - 1)", "1", ""), -0.01, 1.01, 0.0, 1.0),
}
LEVELS = {
    "u": Envelope(SPEED, -200.0, 200.0, -60.0, 60.0),
    "v": Envelope(SPEED, -150.0, 150.0, -20.0, 20.0),
    "q": Envelope(("kg kg-1", "kg/kg", "kg kg**-1", "1"), -2e-3, 0.045, -1e-4, 0.03),
    "r": Envelope(("%",), -60.0, 220.0, -5.0, 120.0),
    "w": Envelope(("Pa s-1", "Pa/s", "Pa s**-1"), -60.0, 60.0, -1.0, 1.0),
    "vo": Envelope(RATE, -5e-3, 5e-3, -2e-4, 2e-4),
    "d": Envelope(RATE, -5e-3, 5e-3, -2e-4, 2e-4),
}
GEOPOTENTIAL = ("m2 s-2", "m2/s2", "m**2 s**-2", "J kg-1")
OTHER_NAMES = {
    "2m_temperature": "t2m",
    "2t": "t2m",
    "t_2m": "t2m",
    "2m_dewpoint_temperature": "d2m",
    "2d": "d2m",
    "10m_u_component_of_wind": "u10",
    "10u": "u10",
    "u10m": "u10",
    "100m_u_component_of_wind": "u100m",
    "10m_v_component_of_wind": "v10",
    "10v": "v10",
    "v10m": "v10",
    "100m_v_component_of_wind": "v100m",
    "mean_sea_level_pressure": "msl",
    "mslp": "msl",
    "surface_pressure": "sp",
    "skin_temperature": "skt",
    "total_column_water_vapour": "tcwv",
    "total_column_water": "tcw",
    "sea_surface_temperature": "sst",
    "total_precipitation": "tp",
    "total_precipitation_6hr": "tp",
    "total_cloud_cover": "tcc",
}
LONG_NAMES = {
    "geopotential": "z",
    "temperature": "t",
    "specific_humidity": "q",
    "relative_humidity": "r",
    "u_component_of_wind": "u",
    "v_component_of_wind": "v",
    "vertical_velocity": "w",
    "vorticity": "vo",
    "divergence": "d",
}
# Other units that are in use: (kind, unit) to factor and offset into `units[0]`.
CONVERSIONS = {
    **{("z", unit): (GRAVITY, 0.0) for unit in ("m", "gpm")},
    **{("q", unit): (1e-3, 0.0) for unit in ("g/kg", "g kg-1", "g kg**-1")},
    **{(kind, unit): (100.0, 0.0) for kind in ("msl", "sp") for unit in ("hPa", "mbar", "millibars")},
    **{(kind, unit): (1.0, 273.15) for kind in ("t", "t2m", "d2m", "sst", "skt") for unit in ("C", "degC", "celsius")},
    **{("tp", unit): (1e-3, 0.0) for unit in ("mm", "kg m-2", "kg m**-2")},
    **{("r", unit): (100.0, 0.0) for unit in ("1",)},
}


def standard_atmosphere(pressure: float) -> tuple[float, float]:
    """Geopotential (m2 s-2) and temperature (K) at a pressure (hPa); U.S. Standard Atmosphere, to 1 hPa."""
    base_pressure = SURFACE_PRESSURE
    for number, (base, temperature, lapse) in enumerate(LAYERS):
        top = LAYERS[number + 1][0] if number + 1 < len(LAYERS) else math.inf
        height = base + _rise(base_pressure / pressure, temperature, lapse)
        if height <= top:
            return GRAVITY * height, temperature + lapse * (height - base)
        thickness = top - base
        if lapse:
            base_pressure *= (1 + lapse * thickness / temperature) ** (-GRAVITY / (GAS_CONSTANT * lapse))
        else:
            base_pressure *= math.exp(-GRAVITY * thickness / (GAS_CONSTANT * temperature))
    raise AssertionError("the last layer has no top")


def _rise(ratio: float, temperature: float, lapse: float) -> float:
    """Height over which the pressure falls by `ratio`, from a layer's base."""
    if not lapse:
        return GAS_CONSTANT * temperature / GRAVITY * math.log(ratio)
    return float(temperature / lapse * (ratio ** (GAS_CONSTANT * lapse / GRAVITY) - 1))


def variable(name: str) -> Variable | None:
    """What a channel's name says; None where it is not known. Numbers below 10 may be levels of a model, not hPa."""
    plain = OTHER_NAMES.get(name.lower(), name.lower())
    if plain in SURFACE:
        return Variable(plain)
    match = re.fullmatch(r"([a-z_]+?)_?(\d{1,4})(?:_?hpa)?", plain)
    if match is None:
        return None
    kind, level = LONG_NAMES.get(match[1], match[1]), int(match[2])
    return Variable(kind, level) if (kind in LEVELS or kind in ("z", "t")) and 10 <= level <= 1100 else None


def envelope(known: Variable) -> Envelope:
    """Bounds of a variable."""
    if known.level is None:
        return SURFACE[known.kind]
    if known.kind not in ("z", "t"):
        return LEVELS[known.kind]
    geopotential, temperature = standard_atmosphere(known.level)
    if known.kind == "t":
        return Envelope(KELVIN, temperature - 65, temperature + 65, temperature - 30, temperature + 30)
    wide, narrow = 14e3 + 0.1 * geopotential, 3e3 + 0.06 * geopotential
    return Envelope(GEOPOTENTIAL, geopotential - wide, geopotential + wide, geopotential - narrow,
                    geopotential + narrow)  # fmt: skip


def to_standard(known: Variable, unit: str) -> tuple[float, float] | None:
    """Factor and offset from a channel's unit into that of its envelope; None for a unit that is not known."""
    if unit in ("", *envelope(known).units):
        return 1.0, 0.0
    return CONVERSIONS.get((known.kind, unit))
