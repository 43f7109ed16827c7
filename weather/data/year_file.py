"""One file of an archive: its names, its header, how it is written.

A year file is HDF5 with one dataset that must be there and four that may be:

=============  ========================  ============================================================
name           shape                     meaning
=============  ========================  ============================================================
``fields``     [time, channel, lat, lon]  float32 (float16 and float64 are read too), physical units
``channel``    [channel]                 names; default ``channel_0``, ``channel_1``, ...
``latitude``   [lat]                     degrees north, either way round; default: equal cells from
                                         north to south, with points on both poles if the count is odd
``longitude``  [lon]                     degrees east; default: equal steps from 0
``time``       [time]                    numbers with an attribute ``units`` such as
                                         ``hours since 2000-01-01``; default: unknown
=============  ========================  ============================================================

Each of the four may be a dataset beside ``fields`` or an attribute of it (the units of a ``time``
attribute are then the attribute ``time_units``). ``channel_units`` [channel] names physical units.
The file need not hold a year: any length goes.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weather.errors import DataError

FIELDS = "fields"
READABLE_TYPES = (np.dtype("float16"), np.dtype("float32"), np.dtype("float64"))
SECONDS_PER_UNIT = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True)
class Header:
    """What a year file says of itself; no field is read for it.

    ``time`` is [time] ``datetime64[s]``, or None where the file has no time stamps.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype
    channels: tuple[str, ...]
    latitude: np.ndarray = field(compare=False)
    longitude: np.ndarray = field(compare=False)
    time: np.ndarray | None = field(compare=False)
    channel_units: tuple[str, ...]

    @property
    def states(self) -> int:
        return self.shape[0]

    @property
    def grid(self) -> tuple[int, int]:
        return self.shape[2], self.shape[3]

    @property
    def where(self) -> str:
        return f"{self.path}, dataset '{FIELDS}'"


def default_latitude(rows: int) -> np.ndarray:
    """Latitudes [rows] in degrees from north to south: with both poles if `rows` is odd (721), else cell centres."""
    if rows % 2:
        return np.linspace(90.0, -90.0, rows)
    return 90.0 - (np.arange(rows) + 0.5) * 180.0 / rows


def default_longitude(columns: int) -> np.ndarray:
    """Longitudes [columns] in degrees east, from 0 in equal steps."""
    return np.arange(columns) * 360.0 / columns


def open_for_reading(path: Path) -> h5py.File:
    """Open an HDF5 file without a lock (parallel file systems often have none).

    Raises:
        DataError: the file is missing, truncated or no HDF5.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        kind = "truncated" if "truncated" in str(error) else "not a readable HDF5 file"
        raise DataError(
            f"the file is {kind} ({' '.join(str(error).split())})",
            where=path,
            fix="write or copy it again, or remove it from the archive",
        ) from error


def read_header(path: Path) -> Header:
    """Read and check the header of one year file.

    Raises:
        DataError: naming the file, the dataset and the rule that is broken.
    """
    with open_for_reading(path) as file:
        fields = file.get(FIELDS)
        if not isinstance(fields, h5py.Dataset):
            raise DataError(
                f"no dataset '{FIELDS}' (found: {', '.join(file) or 'nothing'})",
                where=path,
                rule=f"a year file holds '{FIELDS}' [time, channel, lat, lon]",
            )
        where = f"{path}, dataset '{FIELDS}'"
        if fields.ndim != 4:
            raise DataError(
                f"shape {fields.shape} has {fields.ndim} dimensions",
                where=where,
                rule="it must have 4: [time, channel, lat, lon]",
            )
        if fields.dtype.newbyteorder("=") not in READABLE_TYPES:
            raise DataError(f"type {fields.dtype} is not readable", where=where, rule="float16, float32 or float64")
        if 0 in fields.shape:
            raise DataError(f"shape {fields.shape} is empty", where=where, rule="every dimension is at least 1")
        states, channels, rows, columns = fields.shape
        coordinate = _CoordinateReader(file, fields, path)
        latitude = coordinate.numbers("latitude", rows)
        longitude = coordinate.numbers("longitude", columns)
        return Header(
            path=path,
            shape=(states, channels, rows, columns),
            dtype=fields.dtype,
            channels=coordinate.names("channel", channels) or tuple(f"channel_{c}" for c in range(channels)),
            latitude=default_latitude(rows) if latitude is None else _checked_latitude(latitude, path),
            longitude=default_longitude(columns) if longitude is None else longitude,
            time=coordinate.time(states),
            channel_units=coordinate.names("channel_units", channels) or ("",) * channels,
        )


class _CoordinateReader:
    """Finds a coordinate as a dataset of the file or as an attribute of ``fields``."""

    def __init__(self, file: h5py.File, fields: h5py.Dataset, path: Path) -> None:
        self.file, self.fields, self.path = file, fields, path

    def raw(self, name: str, length: int) -> np.ndarray | None:
        found: Any = None
        if isinstance(self.file.get(name), h5py.Dataset):
            found = self.file[name][()]
        elif name in self.fields.attrs:
            found = self.fields.attrs[name]
        if found is None:
            return None
        values = np.atleast_1d(np.asarray(found))
        if values.shape != (length,):
            raise DataError(
                f"'{name}' has shape {values.shape}",
                where=self.path,
                rule=f"'{FIELDS}' has shape {self.fields.shape}, so '{name}' must have {length} entries",
            )
        return values

    def numbers(self, name: str, length: int) -> np.ndarray | None:
        values = self.raw(name, length)
        if values is None:
            return None
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"'{name}' holds no numbers ({values.dtype})", where=self.path) from error
        if not np.isfinite(values).all():
            raise DataError(f"'{name}' is not finite at index {int(np.argmin(np.isfinite(values)))}", where=self.path)
        return values

    def names(self, name: str, length: int) -> tuple[str, ...] | None:
        values = self.raw(name, length)
        if values is None:
            return None
        names = tuple(v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values.tolist())
        if name == "channel" and len(set(names)) != len(names):
            twice = sorted({n for n in names if names.count(n) > 1})
            raise DataError(
                f"channel names {', '.join(twice)} stand there twice", where=self.path, rule="channel names are unique"
            )
        return names

    def time(self, states: int) -> np.ndarray | None:
        numbers = self.numbers("time", states)
        if numbers is None:
            return None
        holder = self.file.get("time")
        units = holder.attrs.get("units") if holder is not None else self.fields.attrs.get("time_units")
        units = units.decode() if isinstance(units, bytes) else units
        match = re.fullmatch(
            r"(second|minute|hour|day)s? since (\d{4}-\d{2}-\d{2}(?:[T ][\d:]+)?)(?:\.0*)?Z?", str(units)
        )
        try:
            origin = np.datetime64(match[2].replace(" ", "T"), "s") if match else None
        except ValueError:
            origin = None
        if not match or origin is None:
            raise DataError(
                f"time has units {units!r}", where=self.path, rule="units read like 'hours since 2000-01-01'"
            )
        seconds = np.rint(numbers * SECONDS_PER_UNIT[match[1]]).astype("timedelta64[s]")
        time = origin + seconds
        if np.isnat(time).any() or np.abs(numbers * SECONDS_PER_UNIT[match[1]]).max() > 1e15:
            raise DataError("time is out of every calendar's range", where=self.path, fix=f"check its units {units!r}")
        late = np.flatnonzero(np.diff(time) <= np.timedelta64(0, "s"))
        if late.size:
            index = int(late[0])
            raise DataError(
                f"time goes from {time[index]} to {time[index + 1]} at index {index + 1}",
                where=self.path,
                rule="time increases strictly",
                fix="sort the states and drop doubles",
            )
        return time


def _checked_latitude(latitude: np.ndarray, path: Path) -> np.ndarray:
    steps = np.diff(latitude)
    if np.abs(latitude).max() > 90.0 + 1e-6 or not (np.all(steps > 0) or np.all(steps < 0)):
        raise DataError(
            "'latitude' is not monotonic within -90 to 90 degrees",
            where=path,
            rule="latitudes run from pole towards pole, either way round",
        )
    return latitude


@contextlib.contextmanager
def create_year_file(
    path: Path,
    *,
    states: int,
    channels: Sequence[str],
    latitude: np.ndarray,
    longitude: np.ndarray,
    time_hours: np.ndarray | None,
    time_units: str = "hours since 2000-01-01",
    channel_units: Sequence[str] | None = None,
    chunks: tuple[int, int, int, int] | None = None,
    compression: str | None = None,
    dtype: str = "float32",
    attributes: dict[str, str] | None = None,
    space_first: bool = False,
) -> Iterator[h5py.Dataset]:
    """Create a year file and hand over its empty ``fields`` dataset to be filled, in any pieces.

    The layout is contiguous unless `chunks` are given: that is what reads fastest. The file has its
    name only once the block has ended well; a killed writer leaves a ``.partial`` behind, no half archive.

    Args:
        space_first: all fields have their place in the file before the first is written, so that they can be written
            past the HDF5 library, to the offsets that `reader.plane_offsets` tells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    shape = (states, len(channels), len(latitude), len(longitude))
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if space_first:
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(partial, "w") as file:
        fields = file.create_dataset(
            FIELDS,
            shape,
            dtype,
            chunks=chunks,
            compression=compression,
            shuffle=bool(compression) or None,
            dcpl=properties,
        )
        file["channel"] = np.array(list(channels), dtype=h5py.string_dtype())
        if channel_units is not None:
            file["channel_units"] = np.array(list(channel_units), dtype=h5py.string_dtype())
        file["latitude"] = np.asarray(latitude, np.float64)
        file["longitude"] = np.asarray(longitude, np.float64)
        if time_hours is not None:
            file["time"] = np.asarray(time_hours, np.float64)
            file["time"].attrs["units"] = time_units
        for name, text in (attributes or {}).items():
            file.attrs[name] = text
        yield fields
    os.replace(partial, path)
