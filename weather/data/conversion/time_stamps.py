"""When the states of a variable are valid: calendars, units, and forecasts by initial time and step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from weather.data.conversion.counted_times import counted_times
from weather.data.conversion.decoding import coordinate_values
from weather.errors import DataError

if TYPE_CHECKING:
    import xarray

ABSOLUTE = re.compile(r"day as %Y%m%d(\.%f)?$")  # the date as a number with the share of the day, as CDO writes it
#: Units with a time zone: an offset after a space or a clock time, or letters.
ZONE = re.compile(
    r"(?P<clock>.*\d)\s*"
    r"(((?<=\s)|(?<=:\d\d))(?P<sign>[+-])(?P<hours>\d{1,2})(:?(?P<minutes>\d\d))?|(?P<name>[A-Za-z]+))"
)
UNIVERSAL = ("z", "utc", "gmt", "ut")
#: Calendars without days that the real one lacks; a day that they lack is a gap.
REAL_DAYS = ("standard", "gregorian", "proleptic_gregorian", "noleap", "365_day")
#: Lead times of forecasts, as cfgrib, WeatherBench 2 and the Climate Data Store call them.
STEPS = ("step", "prediction_timedelta", "forecast_period")
NAMES = ("valid_time", "time", "timestep", "time_index", "t", "date")


def stamps_of(
    dataset: xarray.Dataset, dims: tuple[str, ...], where: str, assumed_units: str | None = None
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """Valid times of a variable with these dimensions.

    Args:
        assumed_units: such as ``hours since 1940-01-01``, for a time coordinate without units.

    Returns:
        datetime64[s] of any shape, and the names of its dimensions, some of `dims` (none: a single state); None where
        no time is known.

    Raises:
        DataError: the time cannot be understood.
    """
    found = _valid_time(dataset, dims)
    if found is None:
        return _without_units(dataset, dims, where, assumed_units)
    name, variable = found
    times = decode_times(coordinate_values(variable), variable.attrs, f"{where}, '{name}'")
    own = tuple(map(str, variable.dims))
    step = _forecast_step(dataset, dims, variable)
    if step is not None:
        steps = _as_steps(coordinate_values(step), step.attrs, f"{where}, 'step'")
        times = times[(...,) + (None,) * steps.ndim] + steps
        own += tuple(map(str, step.dims))
    return times, own


def _valid_time(dataset: xarray.Dataset, dims: tuple[str, ...]) -> tuple[str, xarray.Variable] | None:
    """The time coordinate to trust: a valid time before an initial time, one with a dimension before a scalar."""
    found = []
    for name, variable in dataset.variables.items():
        if not set(variable.dims) <= set(dims) or not _is_time(variable):
            continue
        standard = variable.attrs.get("standard_name", "")
        rank = (standard != "time" and name != "valid_time", -len(variable.dims), name != "time", str(name))
        found.append((rank, str(name), variable))
    return min(found, key=lambda each: each[0])[1:] if found else None


def _is_time(variable: xarray.Variable) -> bool:
    units = str(variable.attrs.get("units", ""))
    counts = " since " in units or ABSOLUTE.match(units) is not None
    return variable.dtype.kind == "M" or (counts and variable.dtype.kind in "iuf")


def _forecast_step(dataset: xarray.Dataset, dims: tuple[str, ...], time: xarray.Variable) -> xarray.Variable | None:
    """The lead time that is to be added to an initial time; None where the time is valid as it is."""
    step = next((dataset.variables[name] for name in STEPS if name in dataset.variables), None)
    initial = time.attrs.get("standard_name") == "forecast_reference_time" or (step is not None and {*STEPS} & {*dims})
    if step is None or not initial or set(step.dims) & set(time.dims) or not set(step.dims) <= set(dims):
        return None
    return step


def _as_steps(values: np.ndarray, attributes: dict[str, Any], where: str) -> np.ndarray:
    if np.isnan(values).any():
        raise DataError("the lead time has missing entries", where=where, fix="repair the coordinate")
    if np.issubdtype(values.dtype, np.timedelta64):
        return values.astype("timedelta64[s]")
    seconds = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}.get(str(attributes.get("units")).rstrip("s"))
    if seconds is None:
        raise DataError(f"the lead time has units {attributes.get('units')!r}", where=where,
                        rule="seconds, minutes, hours or days")  # fmt: skip
    return np.rint(values * float(seconds)).astype("timedelta64[s]")


def _without_units(
    dataset: xarray.Dataset, dims: tuple[str, ...], where: str, assumed_units: str | None
) -> tuple[np.ndarray, tuple[str, ...]] | None:
    """A dimension that is called like a time and has numbers, but no units."""
    name = next((name for name in NAMES if name in dims and name in dataset.variables), None)
    if name is None:
        return None
    variable = dataset.variables[name]
    place = f"{where}, '{name}'"
    if variable.dtype.kind in "OSU":
        return _written_out(np.asarray(variable.values).astype(str), place), (name,)
    if assumed_units is None:
        hint = next((str(value) for key, value in dataset.attrs.items() if " since " in str(value)), None)
        raise DataError(
            f"the time coordinate '{name}' has no units ({variable.values[:3].tolist()}, ...)",
            where=where,
            rule="units read like 'hours since 2000-01-01'",
            fix=f"give them: --time_units '{hint or 'hours since 2000-01-01'}'",
        )
    return decode_times(coordinate_values(variable), {"units": assumed_units}, place), (name,)


def _written_out(texts: np.ndarray, where: str) -> np.ndarray:
    """ISO 8601 as datetime64[s]; numpy would take a time zone without heeding it."""
    wrong = [text for text in texts.reshape(-1).tolist() if not re.fullmatch(r"[\d-]+([T ][\d:.]+)?Z?", text)]
    try:
        return np.char.rstrip(texts, "Z").astype("datetime64[s]") if not wrong else _no_date(wrong[0], where)
    except ValueError:
        return _no_date(texts.reshape(-1)[0], where)


def _no_date(text: str, where: str) -> NoReturn:
    raise DataError(f"the time is text such as {text!r}", where=where,
                    rule="text is a date in universal time, as 2001-01-31T18:00:00",
                    fix="write it as numbers with units such as 'hours since 2000-01-01'")  # fmt: skip


def decode_times(values: np.ndarray, attributes: dict[str, Any], where: str) -> np.ndarray:
    """Numbers with CF units and calendar as datetime64[s], in any calendar without days that the real one lacks.

    Raises:
        DataError: the calendar has other days, or units and numbers make no date.
    """
    if np.issubdtype(values.dtype, np.datetime64):
        times = values.astype("datetime64[s]")
    else:
        calendar = str(attributes.get("calendar", "standard")).lower()
        if calendar not in REAL_DAYS:
            raise DataError(
                f"the calendar is '{calendar}'",
                where=where,
                rule=f"an archive has the dates of the real calendar; {', '.join(REAL_DAYS)} fit into it",
                fix="interpolate the data to a real calendar first, for example by cdo or xarray's convert_calendar",
            )
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise DataError("the time has missing entries", where=where, fix="repair the time coordinate")
        units = str(attributes["units"]).split("(")[0].strip()
        if ABSOLUTE.match(units):
            times = _dates(values, where)
        else:
            times = _decode(*_in_microseconds(values, _with_zone(units, where)), calendar, where)
    if np.isnat(times).any():
        raise DataError(f"entry {int(np.argmax(np.isnat(times.reshape(-1))))} of the time is missing", where=where,
                        fix="repair the time coordinate")  # fmt: skip
    return times


def _dates(values: np.ndarray, where: str) -> np.ndarray:
    """Dates written as the number 20010131.75, as datetime64[s]."""
    whole = np.floor(values).astype(np.int64)
    texts = [f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}" for day in whole.reshape(-1).tolist()]
    try:
        days = np.array(texts, "datetime64[s]").reshape(values.shape)
    except ValueError as error:
        raise DataError(f"the time is no date ({error})", where=where,
                        rule="with units 'day as %Y%m%d.%f' a time reads like 20010131.75") from error  # fmt: skip
    return days + np.rint((values - whole) * 86400.0).astype("timedelta64[s]")


def _with_zone(units: str, where: str) -> str:
    """Units without that of universal time, or with the time zone in the form that cftime heeds; it reads over others.

    Raises:
        DataError: the zone has a name that is not that of universal time.
    """
    zone = ZONE.fullmatch(units)
    if zone is None:
        return units
    if (zone["name"] or "").lower() in UNIVERSAL:
        return zone["clock"]
    if zone["name"]:
        raise DataError(f"units {units!r} are of the time zone {zone['name']}", where=where,
                        rule="universal time, or an offset such as -06:00")  # fmt: skip
    clock = zone["clock"] if ":" in zone["clock"] else f"{zone['clock']} 00:00"
    return f"{clock} {zone['sign']}{int(zone['hours']):02d}:{zone['minutes'] or '00'}"


def _in_microseconds(values: np.ndarray, units: str) -> tuple[np.ndarray, str]:
    """Nanoseconds, which xarray writes of times with noise in their last digits, as what cftime knows."""
    unit, _, origin = units.partition(" ")
    nanoseconds = unit.lower() in ("ns", "nanosecond", "nanoseconds")
    return (values // 1000, f"microseconds {origin}") if nanoseconds else (values, units)


def _decode(values: np.ndarray, units: str, calendar: str, where: str) -> np.ndarray:
    counted = counted_times(values, units, calendar)
    if counted is not None:
        return counted
    import cftime

    try:
        dates = np.atleast_1d(cftime.num2date(values, units, calendar, only_use_cftime_datetimes=True))
        # Years of less than four digits are no ISO dates in cftime.
        texts = [f"{d.year:04d}-{d.strftime('%m-%dT%H:%M:%S')}.{d.microsecond:06d}" for d in dates.reshape(-1)]
        exact = np.array(texts, "datetime64[us]").reshape(values.shape)
    except (ValueError, OverflowError, TypeError) as error:
        raise DataError(f"units {units!r} make no dates ({error})", where=where,
                        rule="units read like 'hours since 2000-01-01'")  # fmt: skip
    return (exact + np.timedelta64(500, "ms")).astype("datetime64[s]")


def describe_step(step: np.timedelta64) -> str:
    """A time step in hours, or in days from two of them."""
    hours = step / np.timedelta64(3600, "s")
    return f"{hours / 24:g} d" if hours >= 48 else f"{hours:g} h"
