"""Which dimension of a source is latitude, longitude or level, whatever it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from weather.data.conversion.decoding import coordinate_values
from weather.data.conversion.names import channel_name
from weather.errors import DataError

if TYPE_CHECKING:
    import xarray

LATITUDE_UNITS = ("degrees_north", "degree_north", "degree_n", "degrees_n")
LONGITUDE_UNITS = ("degrees_east", "degree_east", "degree_e", "degrees_e")
LATITUDE_NAMES = ("latitude", "lat", "nav_lat", "g0_lat_1")
LONGITUDE_NAMES = ("longitude", "lon", "nav_lon", "g0_lon_2")
PRESSURE_UNITS = {"hpa": 1.0, "mbar": 1.0, "millibar": 1.0, "millibars": 1.0, "mb": 1.0, "pa": 0.01, "pascal": 0.01}
PRESSURE_NAMES = ("isobaricinhpa", "pressure_level", "plev", "pressure", "isobaricinpa", "air_pressure")
MODEL_NAMES = ("hybrid", "model_level", "model_level_number", "ml", "generalverticallayer")
LEVEL_NAMES = (*PRESSURE_NAMES, *MODEL_NAMES, "level", "lev", "levels", "sigma")
LEAST_TOP_PRESSURE = 150.0  # hPa: a set of levels that reaches this without units are pressures; models have 137 levels


@dataclass(frozen=True)
class Levels:
    """Levels of a variable: `values` in hPa for pressure, else as the source has them.

    Attributes:
        dim: dimension of the source, or None where a single level is only told of.
        kind: hPa | sigma | model; unknown: nobody can tell, and the variable is refused.
    """

    dim: str | None
    values: tuple[float, ...]
    kind: str

    def channel(self, name: str, level: float) -> str:
        """Name of a channel: ``u500``, ``u_sigma0.95`` or ``u_level60``."""
        if self.kind == "hPa":
            return channel_name(name, level)
        return name + {"sigma": "_sigma", "model": "_level"}[self.kind] + f"{level:g}"


def horizontal(dataset: xarray.Dataset, dims: tuple[str, ...]) -> tuple[str, str] | None:
    """Names of the latitude and longitude dimensions among `dims`; None where the variable is no field."""
    latitude = next((dim for dim in dims if _is(dataset, dim, LATITUDE_UNITS, LATITUDE_NAMES, "latitude")), None)
    longitude = next((dim for dim in dims if _is(dataset, dim, LONGITUDE_UNITS, LONGITUDE_NAMES, "longitude")), None)
    return None if latitude is None or longitude is None else (latitude, longitude)


def _is(dataset: xarray.Dataset, dim: str, units: tuple[str, ...], names: tuple[str, ...], standard_name: str) -> bool:
    attributes = dataset.variables[dim].attrs if dim in dataset.variables else {}
    return (
        str(attributes.get("units", "")).lower() in units
        or attributes.get("standard_name") == standard_name
        or dim.lower() in names
    )


def degrees(dataset: xarray.Dataset, dim: str, where: str) -> np.ndarray:
    """Coordinate values of a horizontal dimension, float64.

    Raises:
        DataError: it has no values, or they are not finite.
    """
    if dim not in dataset.variables:
        raise DataError(f"the dimension '{dim}' has no coordinate values", where=where,
                        rule="latitude and longitude are variables of one dimension")  # fmt: skip
    values = coordinate_values(dataset.variables[dim]).astype(np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"the coordinate '{dim}' has missing values", where=where)
    return values


def is_curvilinear(dataset: xarray.Dataset, dims: tuple[str, ...]) -> bool:
    """Whether a variable lies on a grid whose latitude and longitude are fields of two dimensions."""
    return any(
        len(variable.dims) == 2 and set(variable.dims) <= set(dims) and str(name).lower() in LATITUDE_NAMES
        for name, variable in dataset.variables.items()
    )


def levels_of(
    dataset: xarray.Dataset, dims: tuple[str, ...], where: str, assumed_units: str | None = None
) -> Levels | None:
    """The levels of a variable; None where it has none.

    Raises:
        DataError: what the numbers mean is not said.
    """
    for name, variable in dataset.variables.items():
        known = str(name).lower() in LEVEL_NAMES or _level_units(variable) is not None
        if not known or not set(variable.dims) <= set(dims) or len(variable.dims) > 1:
            continue
        if variable.dims and str(variable.dims[0]) != name:
            continue
        values = np.atleast_1d(coordinate_values(variable).astype(np.float64))
        kind, factor = _meaning(str(name), variable, values, where, assumed_units)
        scaled = tuple(float(f"{value * factor:.6g}") for value in values)
        if len(set(scaled)) < len(scaled):
            raise DataError(f"the levels '{name}' hold one twice ({', '.join(f'{level:g}' for level in scaled)})",
                            where=where, rule="each level is there once", fix="drop one of them")  # fmt: skip
        return Levels(str(name) if variable.dims else None, scaled, kind)
    return None


def _level_units(variable: xarray.Variable) -> float | None:
    if variable.ndim > 1 or variable.attrs.get("standard_name") not in ("air_pressure", None):
        return None
    axis = variable.attrs.get("axis") == "Z" or variable.attrs.get("positive") in ("up", "down")
    standard = variable.attrs.get("standard_name") == "air_pressure" and variable.ndim == 1
    return PRESSURE_UNITS.get(str(variable.attrs.get("units", "")).lower()) if axis or standard else None


def _meaning(
    name: str, variable: xarray.Variable, values: np.ndarray, where: str, assumed_units: str | None
) -> tuple[str, float]:
    """Kind of the levels, and what makes hPa of pressures."""
    units = str(variable.attrs.get("units", "") or assumed_units or "").lower()
    standard_name = str(variable.attrs.get("standard_name", ""))
    # Hybrid levels may have the units of the pressure that they would have over the sea, as in CESM.
    hybrid = "hybrid" in f"{standard_name} {variable.attrs.get('long_name', '')}"
    if units in PRESSURE_UNITS and not hybrid:
        return "hPa", PRESSURE_UNITS[units]
    if name.lower() == "isobaricinhpa":
        return "hPa", 1.0
    if name.lower() in MODEL_NAMES or hybrid or units in ("model", "level", "layer"):
        return "model", 1.0
    if name.lower() == "sigma" or "sigma" in standard_name or units == "sigma":
        return "sigma", 1.0
    if units in ("1", "") and values.max() <= 1.1 and len(values) > 1:
        return "sigma", 1.0
    if units in ("", "1") and LEAST_TOP_PRESSURE <= values.max() <= 1100.0:
        return "hPa", 1.0
    if units in ("", "1") and values.max() > 11000.0:
        return "hPa", 0.01
    raise DataError(
        f"the levels '{name}' have units {variable.attrs.get('units')!r} and values {values[:4].tolist()}",
        where=where,
        rule="levels are pressures (hPa, millibars, Pa), sigma or numbers of model levels",
        fix="leave the variable out" if units else "say what they are: --level_units hPa, Pa, sigma or model",
    )
