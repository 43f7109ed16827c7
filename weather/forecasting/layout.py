"""The layout of a forecast file, as WeatherBench 2 has it and with the attributes of the CF conventions.

Dimensions are ``time`` (of the initial state), ``number`` (of an ensemble's member), ``prediction_timedelta`` (lead),
``level``, ``latitude`` and ``longitude``; there is one variable for each physical variable (WeatherBench 2's data guide
and its init-time convention, https://weatherbench2.readthedocs.io; CF 1.10, https://cfconventions.org). Variables on
fewer levels than others hold NaN on the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from weather.forecasting.variables import Variable

Attributes = Mapping[str, Any]
EPOCH = np.datetime64("1970-01-01T00:00:00", "s")
CALENDAR = "proleptic_gregorian"


@dataclass(frozen=True)
class Coordinate:
    """A coordinate variable with its values as they are stored."""

    name: str
    dimensions: tuple[str, ...]
    values: np.ndarray
    attributes: Attributes


@dataclass(frozen=True)
class DataVariable:
    """A variable of float32 values that are written later."""

    name: str
    dimensions: tuple[str, ...]
    shape: tuple[int, ...]
    attributes: Attributes


@dataclass(frozen=True)
class Layout:
    """What stands in a forecast file.

    Attributes:
        initial_times: [T] datetime64[s].
        leads: [L] timedelta64[s], rising.
        members: of the ensemble; 1: no dimension `number`.
        levels: [K] hPa, rising, of all variables that have some.
        attributes: of the file.
    """

    initial_times: np.ndarray
    leads: np.ndarray
    members: int
    variables: tuple[Variable, ...]
    levels: tuple[float, ...]
    latitude: np.ndarray
    longitude: np.ndarray
    attributes: Attributes

    @property
    def grid(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)

    @property
    def channels(self) -> int:
        return sum(len(variable.channels) for variable in self.variables)

    @property
    def bytes(self) -> int:
        """Of all values before compression."""
        return sum(4 * math.prod(variable.shape) for variable in self.data_variables())

    def coordinates(self) -> tuple[Coordinate, ...]:
        """All coordinates, encoded."""
        valid = self.initial_times[:, None] + self.leads[None, :]
        time_unit, seconds = _whole_unit(np.concatenate([(valid - EPOCH).ravel(), self.initial_times - EPOCH]))
        lead_unit, lead_seconds = _whole_unit(self.leads)
        clock = {"units": f"{time_unit} since 1970-01-01 00:00:00", "calendar": CALENDAR}
        found = [
            Coordinate(
                "time",
                ("time",),
                (self.initial_times - EPOCH).astype(np.int64) // seconds,
                {
                    "standard_name": "forecast_reference_time",
                    "long_name": "initial time of forecast",
                    "axis": "T",
                    **clock,
                },
            ),
            Coordinate(
                "prediction_timedelta",
                ("prediction_timedelta",),
                self.leads.astype(np.int64) // lead_seconds,
                {
                    "standard_name": "forecast_period",
                    "long_name": "time since forecast_reference_time",
                    "units": lead_unit,
                    "dtype": "timedelta64[ns]",  # what tells xarray to decode it
                },
            ),
            Coordinate(
                "valid_time",
                ("time", "prediction_timedelta"),
                (valid - EPOCH).astype(np.int64) // seconds,
                {"standard_name": "time", "long_name": "time that the forecast is for", **clock},
            ),
            Coordinate(
                "latitude",
                ("latitude",),
                np.asarray(self.latitude, np.float64),
                {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
            ),
            Coordinate(
                "longitude",
                ("longitude",),
                np.asarray(self.longitude, np.float64),
                {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
            ),
        ]
        if self.members > 1:
            numbers = np.arange(self.members, dtype=np.int32)
            about = {"standard_name": "realization", "long_name": "ensemble member", "units": "1"}
            found.append(Coordinate("number", ("number",), numbers, about))
        if self.levels:
            levels = np.array(self.levels)
            whole = levels.astype(np.int32) if (levels == levels.round()).all() else levels
            about = {"standard_name": "air_pressure", "long_name": "pressure level", "units": "hPa"}
            found.append(Coordinate("level", ("level",), whole, {**about, "positive": "down", "axis": "Z"}))
        return tuple(found)

    def data_variables(self) -> tuple[DataVariable, ...]:
        """All variables that hold forecasts."""
        sizes = {
            "time": len(self.initial_times),
            "number": self.members,
            "prediction_timedelta": len(self.leads),
            "level": len(self.levels),
            "latitude": len(self.latitude),
            "longitude": len(self.longitude),
        }
        found = []
        for variable in self.variables:
            names = ("time", "number", "prediction_timedelta", "level", "latitude", "longitude")
            kept = tuple(
                name
                for name in names
                if (name != "number" or self.members > 1) and (name != "level" or variable.levels)
            )
            about: dict[str, Any] = {"long_name": variable.name.replace("_", " ")}
            if variable.standard_name:
                about["standard_name"] = variable.standard_name
            if variable.units:
                about["units"] = variable.units
            about |= {"short_name": " ".join(variable.short_names), "coordinates": "valid_time"}
            found.append(DataVariable(variable.name, kept, tuple(sizes[name] for name in kept), about))
        return tuple(found)

    def level_positions(self, variable: Variable) -> list[int]:
        """Positions of a variable's levels among all."""
        return [self.levels.index(level) for level in variable.levels]


def common_levels(variables: Sequence[Variable]) -> tuple[float, ...]:
    """All levels of some variables, rising."""
    return tuple(sorted({level for variable in variables for level in variable.levels}))


def _whole_unit(differences: np.ndarray) -> tuple[str, int]:
    """The longest of hours, minutes and seconds that counts these timedelta64[s] in whole numbers, and its seconds."""
    seconds = differences.astype("timedelta64[s]").astype(np.int64)
    for name, size in (("hours", 3600), ("minutes", 60)):
        if not (seconds % size).any():
            return name, size
    return "seconds", 1
