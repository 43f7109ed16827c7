"""Names of variables: what ERA5, CF, WeatherBench 2 and GRIB call one quantity, and the short name of a channel."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: Short name of a channel: other names of the same quantity, lower case. Sources: the ECMWF parameter database
#: (names and short names of ERA5), the variable names of WeatherBench 2, and those of CMIP.
ALIASES: Mapping[str, tuple[str, ...]] = {
    "z": ("geopotential",),
    "gh": ("geopotential_height", "zg", "hgt"),
    "t": ("temperature", "ta", "air_temperature"),
    "u": ("u_component_of_wind", "ua", "eastward_wind"),
    "v": ("v_component_of_wind", "va", "northward_wind"),
    "w": ("vertical_velocity", "omega", "wap"),
    "q": ("specific_humidity", "hus", "qv"),
    "r": ("relative_humidity", "hur"),
    "vo": ("vorticity",),
    "d": ("divergence",),
    "pv": ("potential_vorticity",),
    "o3": ("ozone_mass_mixing_ratio",),
    "clwc": ("specific_cloud_liquid_water_content",),
    "ciwc": ("specific_cloud_ice_water_content",),
    "cc": ("fraction_of_cloud_cover",),
    "t2m": ("2m_temperature", "2t", "tas"),
    "d2m": ("2m_dewpoint_temperature", "2d"),
    "u10": ("10m_u_component_of_wind", "10u", "uas", "u10m"),
    "v10": ("10m_v_component_of_wind", "10v", "vas", "v10m"),
    "u100m": ("100m_u_component_of_wind", "100u"),
    "v100m": ("100m_v_component_of_wind", "100v"),
    "msl": ("mean_sea_level_pressure", "mslp", "prmsl", "psl", "slp"),
    "sp": ("surface_pressure", "ps"),
    "skt": ("skin_temperature",),
    "sst": ("sea_surface_temperature", "tos"),
    "siconc": ("sea_ice_cover", "sea_ice_area_fraction", "ci"),
    "tp": ("total_precipitation",),
    "tp06": ("total_precipitation_6hr",),
    "tp12": ("total_precipitation_12hr",),
    "tp24": ("total_precipitation_24hr",),
    "cp": ("convective_precipitation",),
    "lsp": ("large_scale_precipitation",),
    "tcw": ("total_column_water",),
    "tcwv": ("total_column_water_vapour", "total_column_water_vapor"),
    "tcc": ("total_cloud_cover",),
    "sd": ("snow_depth",),
    "swvl1": ("volumetric_soil_water_layer_1",),
    "stl1": ("soil_temperature_level_1",),
    "ssrd": ("surface_solar_radiation_downwards",),
    "strd": ("surface_thermal_radiation_downwards",),
    "ttr": ("top_net_thermal_radiation",),
    "tisr": ("toa_incident_solar_radiation",),
    "land_sea_mask": ("lsm", "sftlf"),
    "orography": ("orog", "surface_altitude"),
    "geopotential_at_surface": ("surface_geopotential", "phis"),
}

#: Names of the CF standard name table, asked where the variable's own name says nothing.
STANDARD_NAMES: Mapping[str, str] = {
    "geopotential": "z",
    "geopotential_height": "gh",
    "air_temperature": "t",
    "eastward_wind": "u",
    "northward_wind": "v",
    "lagrangian_tendency_of_air_pressure": "w",
    "specific_humidity": "q",
    "relative_humidity": "r",
    "atmosphere_relative_vorticity": "vo",
    "divergence_of_wind": "d",
    "air_pressure_at_mean_sea_level": "msl",
    "air_pressure_at_sea_level": "msl",
    "surface_air_pressure": "sp",
    "sea_surface_temperature": "sst",
    "sea_ice_area_fraction": "siconc",
    "land_binary_mask": "land_sea_mask",
    "land_area_fraction": "land_sea_mask",
    "surface_altitude": "orography",
}

#: Of these the quantities that are given at many heights.
ALOFT = frozenset({"z", "gh", "t", "u", "v", "w", "q", "r", "vo", "d"})

#: Units of ERA5 (ECMWF parameter database), after `plain_units`; others are kept and said.
ERA5_UNITS: Mapping[str, str] = {
    "z": "m2 s-2",
    "t": "K",
    "u": "m s-1",
    "v": "m s-1",
    "w": "Pa s-1",
    "q": "kg kg-1",
    "t2m": "K",
    "d2m": "K",
    "u10": "m s-1",
    "v10": "m s-1",
    "msl": "Pa",
    "sp": "Pa",
    "sst": "K",
    "tp": "m",
}

#: Other spellings of units.
SPELLINGS: Mapping[str, str] = {"kelvin": "K", "degk": "K", "deg_k": "K", "pascals": "Pa", "pascal": "Pa"}

#: Quantities that ERA5 gives as sums since the beginning of a forecast or over the hours before.
ACCUMULATED = frozenset({"tp", "tp06", "tp12", "tp24", "cp", "lsp", "ssrd", "strd", "ttr", "tisr"})

#: ERA5's names of quantities at 100 m, which read like channels at 100 hPa.
HEIGHTS: Mapping[str, str] = {"u100": "u100m", "v100": "v100m"}

_BY_ALIAS = {alias: short for short, aliases in ALIASES.items() for alias in (short, *aliases)}


def short_name(variable: str, standard_name: str = "", long_name: str = "", *, has_levels: bool = False) -> str:
    """Short name of a source's variable: by its name, else by its CF standard name, else its own name as it is.

    ERA5 calls the wind at 100 m ``u100``, as archives call that at 100 hPa: there the long name decides. Without levels
    the standard name of a quantity aloft does not say at which height it is: ``air_temperature`` may be at 2 m.
    """
    if variable in HEIGHTS and long_name.startswith("100 metre"):
        return HEIGHTS[variable]
    known = _BY_ALIAS.get(variable) or _BY_ALIAS.get(variable.lower())
    if known is None and (has_levels or STANDARD_NAMES.get(standard_name) not in ALOFT):
        known = STANDARD_NAMES.get(standard_name)
    return known or variable


def asked_name(name: str) -> str:
    """Short name of what a user wrote, if it is one of the known names; else as it is."""
    return _BY_ALIAS.get(name) or _BY_ALIAS.get(name.lower(), name)


def channel_name(name: str, level: float) -> str:
    """Channel of a quantity at a pressure in hPa: ``u500``; where that is the name of another quantity, ``u10hPa``."""
    plain = f"{name}{level:g}"
    return f"{plain}hPa" if plain in ALIASES else plain


def plain_units(units: str) -> str:
    """Units in one spelling: ``m s**-1``, ``m s^-1``, ``m/s`` and ``m s-1`` are the same, and ``Kelvin`` is ``K``."""
    plain = re.sub(
        r"/([A-Za-z]+)(\d*)",
        lambda divisor: f" {divisor[1]}-{divisor[2] or 1}",
        units.replace("**", "").replace("^", ""),
    )
    return SPELLINGS.get(plain.strip().lower(), plain.strip())
