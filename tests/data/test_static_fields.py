"""Static fields: written, read back on the archive's grid, refused on another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data.archive import open_archive
from weather.data.static_fields import FILE, StaticFields, read_static_fields, write_static_fields
from weather.data.year_file import Header, default_latitude, default_longitude
from weather.errors import DataError

GRID = (6, 8)
NAMES, UNITS = ("land_sea_mask", "orography"), ("1", "m")
MakeArchive = Callable[..., WrittenArchive]


def planes() -> np.ndarray:
    """[2, lat, lon], another value at each point."""
    return np.arange(96, dtype=np.float32).reshape(2, *GRID)


@pytest.fixture
def archive(make_archive: MakeArchive) -> WrittenArchive:
    return make_archive(grid=GRID)


def header_of(archive: WrittenArchive) -> Header:
    return open_archive(archive.section()).splits["train"].headers[0]


def write(folder: Path, **changed: object) -> None:
    settings: dict[str, object] = {
        "names": NAMES,
        "units": UNITS,
        "fields": planes(),
        "latitude": default_latitude(GRID[0]),
        "longitude": default_longitude(GRID[1]),
    }
    write_static_fields(folder, **{**settings, **changed})  # type: ignore[arg-type]


def test_round_trip(archive: WrittenArchive) -> None:
    write(archive.folder)
    found = read_static_fields(archive.folder, header_of(archive))
    assert (found.names, found.units) == (NAMES, UNITS)
    np.testing.assert_array_equal(found.fields, planes())
    assert found.fields.dtype == np.float32 and found.fields.flags.c_contiguous
    assert not list(archive.folder.glob("*.partial"))


def test_a_second_writing_replaces_the_first(archive: WrittenArchive) -> None:
    write(archive.folder)
    write(archive.folder, names=("soil",), units=("1",), fields=planes()[:1])
    assert read_static_fields(archive.folder, header_of(archive)).names == ("soil",)


def test_latitudes_the_other_way_are_turned_round(archive: WrittenArchive) -> None:
    write(archive.folder, fields=planes()[:, ::-1], latitude=default_latitude(GRID[0])[::-1])
    np.testing.assert_array_equal(read_static_fields(archive.folder, header_of(archive)).fields, planes())


@pytest.mark.parametrize("how", ["area_mean", "bilinear", "stride"])
def test_coarsened_as_states_are(archive: WrittenArchive, how: str) -> None:
    write(archive.folder)
    split = open_archive(archive.section(coarsen=2, coarsen_by=how)).splits["train"]
    found: StaticFields = read_static_fields(archive.folder, split.headers[0], split.coarsening)
    expected = np.empty((2, *split.grid), np.float32)
    assert split.coarsening is not None
    split.coarsening.apply(planes(), expected)
    assert found.fields.shape == (2, 3, 4)
    np.testing.assert_array_equal(found.fields, expected)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latitude": np.linspace(85, -85, GRID[0])}, "'latitude' has 6 values from 85 to -85, but 6 from 75 to -75"),
        ({"longitude": default_longitude(GRID[1]) - 180}, "'longitude' has 8 values from -180 to 135, but 8 from 0"),
        (
            {"fields": planes()[:, :3], "latitude": default_latitude(GRID[0])[:3]},
            "'latitude' has 3 values from 75 to 15, but 6 from 75 to -75",
        ),
    ],
)
def test_another_grid_is_refused(archive: WrittenArchive, changed: dict[str, object], message: str) -> None:
    write(archive.folder, **changed)
    with pytest.raises(DataError, match=message) as error:
        read_static_fields(archive.folder, header_of(archive))
    assert str(archive.folder / FILE) in str(error.value) and "bring them onto that grid" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"names": ("orography", "orography")}, "orography stand there twice"),
        ({"units": ("1",)}, "with 2 names, 1 units"),
        ({"fields": planes()[0]}, r"shape \(6, 8\) with 2 names"),
        (
            {"fields": np.where(planes() == 17, np.nan, planes())},
            r"'land_sea_mask' is nan at latitude 15, longitude 45 \(1 such values\)",
        ),
    ],
)
def test_what_is_not_written(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write(tmp_path, **changed)
    assert not list(tmp_path.iterdir())


def test_missing_file_and_missing_dataset(archive: WrittenArchive) -> None:
    header = header_of(archive)
    with pytest.raises(DataError, match="static.h5: the file is missing"):
        read_static_fields(archive.folder, header)
    write(archive.folder)
    with h5py.File(archive.folder / FILE, "r+") as file:
        del file["channel_units"]
    with pytest.raises(DataError, match="no dataset 'channel_units'"):
        read_static_fields(archive.folder, header)
    (archive.folder / FILE).write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="not a readable HDF5 file"):
        read_static_fields(archive.folder, header)


def test_a_missing_value_in_the_file_is_refused(archive: WrittenArchive) -> None:
    write(archive.folder)
    with h5py.File(archive.folder / FILE, "r+") as file:
        file["fields"][1, 2, 3] = np.inf
    with pytest.raises(DataError, match="'orography' is inf at latitude 15, longitude 135"):
        read_static_fields(archive.folder, header_of(archive))
