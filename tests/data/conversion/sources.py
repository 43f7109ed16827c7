"""Small sources with known contents, and conversions of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from weather.data.conversion.conversion import Outcome, convert
from weather.data.conversion.options import parser, request_of

xarray = pytest.importorskip("xarray", reason="xarray is not installed")
pytest.importorskip("netCDF4", reason="netCDF4 is not installed")

LATITUDE = np.linspace(90, -90, 7)
LONGITUDE = np.arange(0, 360, 30.0)
SPLIT = ("--split", "0.6,0.2,0.2")


def times(count: int = 10, start: str = "2001-01-01", step_hours: int = 6) -> np.ndarray:
    return np.datetime64(start, "ns") + np.arange(count) * np.timedelta64(step_hours, "h")


def field(
    time: np.ndarray,
    latitude: np.ndarray = LATITUDE,
    longitude: np.ndarray = LONGITUDE,
    levels: Sequence[float] | None = None,
    *,
    units: str = "K",
    scale: float = 1.0,
) -> Any:
    """A DataArray whose values tell where they are: hours, level, latitude and longitude (in 0 to 360) each weigh in."""
    hours = (time - np.datetime64("2001-01-01", "ns")) / np.timedelta64(1, "h")
    circle = np.mod(longitude, 360)
    values = hours[:, None, None] + latitude[None, :, None] / 8 + np.sin(np.deg2rad(circle))[None, None]
    if levels is None:
        dims: tuple[str, ...] = ("time", "latitude", "longitude")
        coordinates: dict[str, Any] = {}
    else:
        values = values[:, None] + np.asarray(levels)[None, :, None, None]
        dims = ("time", "level", "latitude", "longitude")
        coordinates = {"level": ("level", np.asarray(levels), {"units": "hPa"})}
    coordinates |= {"time": time, "latitude": ("latitude", latitude, {"units": "degrees_north"}),
                    "longitude": ("longitude", longitude, {"units": "degrees_east"})}  # fmt: skip
    return xarray.DataArray((values * scale).astype(np.float32), coordinates, dims, attrs={"units": units})


def expected(time: np.ndarray, **settings: Any) -> np.ndarray:
    """What an archive holds of `field` on the usual grid."""
    return np.asarray(field(time, **settings).values)


def write(path: Path, variables: Mapping[str, Any], encoding: Mapping[str, Any] | None = None, **settings: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    xarray.Dataset(dict(variables)).to_netcdf(path, engine="netcdf4", encoding=encoding or {}, **settings)
    return path


def run(*words: object, **settings: Any) -> Outcome:
    """Convert as the command line would."""
    options = parser().parse_args([str(word) for word in words])
    given: dict[str, Any] = {"workers": options.workers, "overwrite": options.overwrite, "dry_run": options.dry_run,
                             "leads": options.leads}  # fmt: skip
    return convert(request_of(options), options.archive, **{**given, **settings})


def states(archive: Path, splits: Sequence[str] = ("train", "valid", "test")) -> tuple[np.ndarray, np.ndarray]:
    """Fields of all files one after the other, and their times."""
    fields, time = [], []
    for split in splits:
        for path in sorted((archive / split).glob("*.h5")):
            with h5py.File(path) as file:
                fields.append(file["fields"][()])
                hours = np.rint(file["time"][()] * 3600).astype("timedelta64[s]")
                time.append(np.datetime64("2000-01-01T00:00:00") + hours)
    return np.concatenate(fields), np.concatenate(time)
