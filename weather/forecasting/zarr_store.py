"""Forecasts in Zarr, format 2 or 3: a chunk holds all members and levels of one initial time and one lead."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from weather.errors import ConfigError
from weather.forecasting.layout import Coordinate, DataVariable, Layout

LARGEST_CHUNK = 2**26  # bytes before compression; members are split where they need more


def create_zarr(path: Path, layout: Layout, zarr_format: int) -> None:
    """Write the structure of a store."""
    zarr = zarr_package()
    root = zarr.create_group(path, zarr_format=zarr_format, attributes=dict(layout.attributes))
    no_fill = None if zarr_format == 2 else 0  # a fill value of version 2 means missing to xarray
    for each in layout.coordinates():
        made = _create(root, zarr_format, each, each.values.shape, each.values.shape, each.values.dtype, no_fill)
        made[...] = each.values
    for variable in layout.data_variables():
        _create(root, zarr_format, variable, variable.shape, _chunks(variable), np.dtype("<f4"), np.float32(np.nan))
    _consolidate(path, zarr_format)


def _consolidate(path: Path, zarr_format: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # version 3 has no agreed form of it, but xarray reads this one
        zarr_package().consolidate_metadata(path, zarr_format=zarr_format)


def _create(
    root: Any,
    zarr_format: int,
    described: Coordinate | DataVariable,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: np.dtype,
    fill_value: Any,
) -> Any:
    settings: dict[str, Any] = {"attributes": dict(described.attributes)}
    if zarr_format == 2:
        settings["attributes"]["_ARRAY_DIMENSIONS"] = list(described.dimensions)  # xarray's convention for version 2
    else:
        settings["dimension_names"] = described.dimensions
    return root.create_array(described.name, shape=shape, chunks=chunks, dtype=dtype, fill_value=fill_value, **settings)


def _chunks(variable: DataVariable) -> tuple[int, ...]:
    sizes = dict(zip(variable.dimensions, variable.shape, strict=True))
    sizes |= {"time": 1, "prediction_timedelta": 1}
    if "number" in sizes:
        state = 4 * int(np.prod([size for name, size in sizes.items() if name != "number"]))
        sizes["number"] = max(1, min(sizes["number"], LARGEST_CHUNK // state))
    return tuple(sizes.values())


class ZarrStore:
    """See `Store`."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = layout
        root = zarr_package().open_group(path, mode="r+", use_consolidated=False)
        self.arrays = [root[variable.name] for variable in layout.variables]

    def write(self, initial: int, lead: int, fields: np.ndarray) -> None:
        for variable, array in zip(self.layout.variables, self.arrays, strict=True):
            values = fields[:, list(variable.channels)]
            if variable.levels:
                every = np.full((len(values), len(self.layout.levels), *values.shape[2:]), np.nan, np.float32)
                every[:, self.layout.level_positions(variable)] = values
                values = every
            else:
                values = values[:, 0]
            array[(initial, slice(None), lead) if self.layout.members > 1 else (initial, lead)] = (
                values if self.layout.members > 1 else values[0]
            )

    def read(self, initial: int, lead: int) -> np.ndarray:
        found = np.empty((self.layout.members, self.layout.channels, *self.layout.grid), np.float32)
        for variable, array in zip(self.layout.variables, self.arrays, strict=True):
            values = np.asarray(array[(initial, slice(None), lead) if self.layout.members > 1 else (initial, lead)])
            values = values.reshape(self.layout.members, -1, *self.layout.grid)
            chosen = values[:, self.layout.level_positions(variable)] if variable.levels else values
            found[:, list(variable.channels)] = chosen
        return found

    def flush(self) -> None:
        """Zarr writes every chunk at once."""

    def close(self) -> None:
        """Zarr keeps no file open."""


def zarr_attributes(path: Path) -> dict[str, Any]:
    zarr = zarr_package()
    try:
        return dict(zarr.open_group(path, mode="r").attrs)
    except (OSError, ValueError, KeyError):
        return {}


def add_zarr_attributes(path: Path, attributes: dict[str, str]) -> None:
    root = zarr_package().open_group(path, mode="r+", use_consolidated=False)
    root.attrs.update(attributes)
    _consolidate(path, root.metadata.zarr_format)


def zarr_package() -> Any:
    """Zarr 3.

    Raises:
        ConfigError: it is not there.
    """
    try:
        import zarr
    except ImportError as error:
        raise _missing() from error
    if int(zarr.__version__.split(".")[0]) < 3:
        raise _missing()
    return zarr


def _missing() -> ConfigError:
    return ConfigError(
        "a .zarr forecast needs zarr 3",
        rule="it is an extra, for Python 3.11 on; it writes Zarr formats 2 and 3",
        fix="pip install 'zarr>=3', or write NetCDF: --out forecast.nc",
    )
