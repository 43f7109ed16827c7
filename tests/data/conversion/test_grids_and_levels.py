"""Grids and levels of other models than ERA5's, and a file that is damaged in its middle."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.data.conversion.sources import SPLIT, field, run, times, write, xarray
from weather.data.archive import open_split
from weather.errors import DataError

TIME = times()


def on_rows(latitude: np.ndarray) -> xarray.DataArray:
    """A field that tells its latitude, on four columns."""
    values = np.broadcast_to(latitude[None, :, None], (len(TIME), len(latitude), 4)).astype(np.float32)
    coordinates = {"time": TIME, "latitude": latitude, "longitude": np.arange(4) * 90.0}
    return xarray.DataArray(values, coordinates, ("time", "latitude", "longitude"), attrs={"units": "K"})


@pytest.mark.parametrize(
    "latitude",
    [np.degrees(np.arcsin(np.polynomial.legendre.leggauss(32)[0])), np.linspace(90, -90, 721)],
    ids=["gaussian, south to north", "721 rows"],
)
def test_rows_are_those_of_the_source_from_north_to_south(tmp_path: Path, latitude: np.ndarray) -> None:
    write(tmp_path / "a.nc", {"t2m": on_rows(latitude)})
    run(tmp_path / "a.nc", tmp_path / "out", *SPLIT)
    header = open_split(tmp_path / "out", "train").headers[0]
    rows = np.sort(latitude)[::-1]
    np.testing.assert_allclose(header.latitude, rows, atol=1e-9)
    with h5py.File(header.path) as file:
        np.testing.assert_array_equal(file["fields"][0, 0, :, 0], rows.astype(np.float32))


@pytest.mark.parametrize(
    ("units", "standard_name", "levels", "channels"),
    [
        ("1", "atmosphere_sigma_coordinate", [0.25, 0.95], ("t_sigma0.25", "t_sigma0.95")),
        ("Pa", "air_pressure", [50000.0, 85000.0], ("t500", "t850")),
        ("hPa", "air_pressure", [500.0, 850.0], ("t500", "t850")),
    ],
)
def test_levels_are_named_by_their_units(
    tmp_path: Path, units: str, standard_name: str, levels: list[float], channels: tuple[str, ...]
) -> None:
    fields = xarray.concat([field(TIME), field(TIME)], xarray.DataArray(levels, dims="level", name="level"))
    fields["level"].attrs.update(units=units, standard_name=standard_name)
    write(tmp_path / "a.nc", {"t": fields.transpose("time", "level", ...)})
    run(tmp_path / "a.nc", tmp_path / "out", *SPLIT)
    assert open_split(tmp_path / "out", "train").headers[0].channels == channels


def test_a_file_that_is_damaged_in_its_middle_is_refused_by_name(tmp_path: Path) -> None:
    packed = {"zlib": True, "chunksizes": (1, *field(TIME).shape[1:])}
    path = write(tmp_path / "a.nc", {"t2m": field(TIME)}, {"t2m": packed})
    with h5py.File(path) as file:
        chunk = file["t2m"].id.get_chunk_info(len(TIME) // 2)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    with pytest.raises(DataError, match=r"a\.nc"):
        run(path, tmp_path / "out", *SPLIT)
    assert not list((tmp_path / "out").glob("*/*.h5"))
