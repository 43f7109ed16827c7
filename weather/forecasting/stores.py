"""Where forecasts are written to and read from: a Zarr folder or a NetCDF file, chosen by the name's ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from weather.errors import ConfigError
from weather.forecasting.layout import Layout

ENDINGS = (".zarr", ".nc")


class Store(Protocol):
    """A forecast file whose structure is complete, and whose values are written and read in any order."""

    def write(self, initial: int, lead: int, fields: np.ndarray) -> None:
        """Write `fields` [member, channel, lat, lon] float32 of one initial time and one lead, by their numbers."""

    def read(self, initial: int, lead: int) -> np.ndarray:
        """Read them back."""

    def flush(self) -> None:
        """Bring what was written to the disk."""

    def close(self) -> None: ...


def ending_of(path: Path) -> str:
    """`.zarr` or `.nc`.

    Raises:
        ConfigError: another ending.
    """
    if path.suffix not in ENDINGS:
        raise ConfigError(f"--out {path}", rule="a forecast is a .zarr folder or a .nc file")
    return path.suffix


def check_packages(path: Path) -> None:
    """Refuse what a missing package would only refuse once forecasts are to be written.

    Raises:
        ConfigError: another ending, or the package that writes such files is missing.
    """
    if ending_of(path) == ".zarr":
        from weather.forecasting.zarr_store import zarr_package

        zarr_package()
    else:
        from weather.forecasting.netcdf_store import netcdf_package

        netcdf_package()


def create_store(path: Path, layout: Layout, zarr_format: int) -> None:
    """Write a file's structure, coordinates and attributes; its values come later."""
    if ending_of(path) == ".zarr":
        from weather.forecasting.zarr_store import create_zarr

        create_zarr(path, layout, zarr_format)
    else:
        from weather.forecasting.netcdf_store import create_netcdf

        create_netcdf(path, layout)


def open_store(path: Path, layout: Layout) -> Store:
    """Open a file that `create_store` made with this layout."""
    if ending_of(path) == ".zarr":
        from weather.forecasting.zarr_store import ZarrStore

        return ZarrStore(path, layout)
    from weather.forecasting.netcdf_store import NetcdfStore

    return NetcdfStore(path, layout)


def file_attributes(path: Path) -> dict[str, Any]:
    """Attributes of a forecast file; empty where it is none."""
    if ending_of(path) == ".zarr":
        from weather.forecasting.zarr_store import zarr_attributes

        return zarr_attributes(path)
    from weather.forecasting.netcdf_store import netcdf_attributes

    return netcdf_attributes(path)


def add_attributes(path: Path, attributes: dict[str, str]) -> None:
    """Add attributes to a forecast file whose values are written."""
    if ending_of(path) == ".zarr":
        from weather.forecasting.zarr_store import add_zarr_attributes

        add_zarr_attributes(path, attributes)
    else:
        from weather.forecasting.netcdf_store import add_netcdf_attributes

        add_netcdf_attributes(path, attributes)
