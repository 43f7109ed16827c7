"""Forecasts in one NetCDF-4 file, whose structure is finished before the first value is written.

Each variable lies in one contiguous piece that is allocated when the file is made. Values are then put at their byte
offsets, past the HDF5 library, so that a killed writer leaves a sound file behind, whatever it was doing, and so that
several ranks write at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from weather.errors import ConfigError, DataError
from weather.forecasting.layout import Layout


def create_netcdf(path: Path, layout: Layout) -> None:
    """Write the structure of a file."""
    with netcdf_package().File(path, "w") as file:
        variables = layout.data_variables()
        sizes = {name: size for each in variables for name, size in zip(each.dimensions, each.shape, strict=True)}
        file.dimensions = sizes
        file.attrs.update(layout.attributes)
        for coordinate in layout.coordinates():
            values = coordinate.values
            made = file.create_variable(coordinate.name, coordinate.dimensions, values.dtype, data=values)
            made.attrs.update(coordinate.attributes)
        for variable in variables:
            allocated = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            allocated.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            allocated.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            made = file.create_variable(
                variable.name, variable.dimensions, "<f4", fillvalue=np.float32(np.nan), dcpl=allocated
            )
            made.attrs.update(variable.attributes)


def netcdf_package() -> Any:
    """h5netcdf.

    Raises:
        ConfigError: it is not there.
    """
    try:
        import h5netcdf
    except ImportError as error:
        raise ConfigError("a .nc forecast needs h5netcdf", rule="it is an extra", fix="pip install h5netcdf") from error
    return h5netcdf


class NetcdfStore:
    """See `Store`."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout, self.path = layout, path
        with h5py.File(path, "r", locking=False) as file:
            self.offsets = [file[variable.name].id.get_offset() for variable in layout.variables]
        self.descriptor = os.open(path, os.O_RDWR)

    def _pieces(self, initial: int, lead: int) -> list[tuple[int, int, list[int]]]:
        """Byte offset, member and channels (-1: none) of each run of planes that lies in one piece."""
        layout, plane = self.layout, 4 * self.layout.grid[0] * self.layout.grid[1]
        found = []
        for variable, offset in zip(layout.variables, self.offsets, strict=True):
            channels = [variable.channels[0]]
            if variable.levels:
                channels = [-1] * len(layout.levels)
                for position, channel in zip(layout.level_positions(variable), variable.channels, strict=True):
                    channels[position] = channel
            for member in range(layout.members):
                row = (initial * layout.members + member) * len(layout.leads) + lead
                found.append((offset + row * len(channels) * plane, member, channels))
        return found

    def write(self, initial: int, lead: int, fields: np.ndarray) -> None:
        absent = np.full(self.layout.grid, np.nan, "<f4")
        for offset, member, channels in self._pieces(initial, lead):
            planes = [fields[member, channel] if channel >= 0 else absent for channel in channels]
            left = memoryview(np.stack(planes).astype("<f4", copy=False).tobytes())
            while left:
                done = os.pwrite(self.descriptor, left, offset)
                offset, left = offset + done, left[done:]

    def read(self, initial: int, lead: int) -> np.ndarray:
        found = np.empty((self.layout.members, self.layout.channels, *self.layout.grid), np.float32)
        plane = 4 * self.layout.grid[0] * self.layout.grid[1]
        for offset, member, channels in self._pieces(initial, lead):
            for position, channel in enumerate(channels):
                if channel >= 0:
                    there = os.pread(self.descriptor, plane, offset + position * plane)
                    if len(there) < plane:
                        raise DataError("the file is truncated", where=self.path, fix="make the forecast again")
                    found[member, channel] = np.frombuffer(there, "<f4").reshape(self.layout.grid)
        return found

    def flush(self) -> None:
        os.fsync(self.descriptor)

    def close(self) -> None:
        os.close(self.descriptor)


def netcdf_attributes(path: Path) -> dict[str, Any]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            return dict(file.attrs)
    except OSError:
        return {}


def add_netcdf_attributes(path: Path, attributes: dict[str, str]) -> None:
    with netcdf_package().File(path, "a") as file:
        file.attrs.update(attributes)
