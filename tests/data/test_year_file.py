"""The header of a year file: what is read, what is refused, and how a file comes to be."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.data.year_file import create_year_file, default_latitude, default_longitude, read_header
from weather.errors import DataError

SHAPE = (6, 3, 4, 8)
FIELDS_AT = "year.h5, dataset 'fields'"


def write_bare(folder: Path, *, shape: tuple[int, ...] = SHAPE, dtype: str = "float32", name: str = "fields") -> Path:
    """A file with nothing in it but one dataset."""
    path = folder / "year.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=np.zeros(shape, dtype))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_header(path)
    assert str(path) in str(error.value), "the message names the file"
    assert "\n" not in str(error.value)
    return str(error.value)


# --- what is read ---


def test_bare_file_gets_defaults(tmp_path: Path) -> None:
    header = read_header(write_bare(tmp_path))
    assert header.shape == SHAPE
    assert (header.states, header.grid) == (6, (4, 8))
    assert header.channels == ("channel_0", "channel_1", "channel_2")
    assert header.channel_units == ("", "", "")
    assert header.time is None
    np.testing.assert_allclose(header.latitude, [67.5, 22.5, -22.5, -67.5])
    np.testing.assert_allclose(header.longitude, np.arange(8) * 45.0)


def test_default_grid_with_both_poles_and_without() -> None:
    odd, even = default_latitude(721), default_latitude(720)
    assert (odd[0], odd[360], odd[-1]) == (90.0, 0.0, -90.0)
    assert (even[0], even[-1]) == (89.875, -89.875)
    np.testing.assert_allclose(np.diff(odd), -0.25)
    np.testing.assert_allclose(np.diff(even), -0.25)
    assert default_longitude(1440)[-1] == 359.75


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", ">f8"])
def test_readable_types(tmp_path: Path, dtype: str) -> None:
    assert read_header(write_bare(tmp_path, dtype=dtype)).dtype == np.dtype(dtype)


def fill_datasets(file: h5py.File) -> None:
    file["channel"] = np.array(["t2m", "u10", "z500"], h5py.string_dtype())
    file["channel_units"] = np.array(["K", "m s-1", "m2 s-2"], h5py.string_dtype())
    file["latitude"] = [-60.0, -20.0, 20.0, 60.0]
    file["longitude"] = np.arange(8) * 45.0 - 180.0
    file["time"] = np.arange(6) * 6
    file["time"].attrs["units"] = "hours since 2001-02-03"


def fill_attributes(file: h5py.File) -> None:
    attributes = file["fields"].attrs
    attributes["channel"] = ["t2m", "u10", "z500"]
    attributes["channel_units"] = np.array([b"K", b"m s-1", b"m2 s-2"])
    attributes["latitude"] = [-60.0, -20.0, 20.0, 60.0]
    attributes["longitude"] = np.arange(8, dtype=np.float32) * 45.0 - 180.0
    attributes["time"] = np.arange(6) * 6
    attributes["time_units"] = "hours since 2001-02-03"


@pytest.mark.parametrize("fill", [fill_datasets, fill_attributes])
def test_coordinates_are_datasets_or_attributes(tmp_path: Path, fill: Callable[[h5py.File], None]) -> None:
    path = write_bare(tmp_path)
    with h5py.File(path, "r+") as file:
        fill(file)
    header = read_header(path)
    assert header.channels == ("t2m", "u10", "z500")
    assert header.channel_units == ("K", "m s-1", "m2 s-2")
    assert header.latitude.tolist() == [-60.0, -20.0, 20.0, 60.0]
    assert header.longitude.tolist() == (np.arange(8) * 45.0 - 180.0).tolist()
    assert header.time is not None
    assert header.time.tolist() == (np.datetime64("2001-02-03", "s") + np.arange(6) * np.timedelta64(6, "h")).tolist()


@pytest.mark.parametrize(
    ("units", "numbers", "second_state"),
    [
        ("hours since 2000-01-01", [0, 6], "2000-01-01T06:00:00"),
        ("hour since 2000-01-01", [0, 6], "2000-01-01T06:00:00"),
        ("days since 1979-12-31", [0, 0.25], "1979-12-31T06:00:00"),
        ("minutes since 2000-01-01", [0, 360], "2000-01-01T06:00:00"),
        ("seconds since 1970-01-01", [0, 86400], "1970-01-02T00:00:00"),
        ("hours since 2000-01-01 12:00:00", [0, 6], "2000-01-01T18:00:00"),
        ("hours since 2000-01-01T12:00", [0, 6], "2000-01-01T18:00:00"),
        ("hours since 2000-01-01T12:00:00Z", [0, 6], "2000-01-01T18:00:00"),
        ("hours since 1900-01-01 00:00:00.0", [876576, 876582], "2000-01-01T06:00:00"),
        ("days since 2000-01-01", [0, 1 / 3], "2000-01-01T08:00:00"),
        ("hours since 2000-02-28", [0, 48], "2000-03-01T00:00:00"),
    ],
)
def test_time_units(tmp_path: Path, units: str, numbers: list[float], second_state: str) -> None:
    """With the fraction of a second is how the Copernicus store writes ERA5."""
    path = write_bare(tmp_path, shape=(2, 3, 4, 8))
    with h5py.File(path, "r+") as file:
        file["time"] = numbers
        file["time"].attrs["units"] = units
    time = read_header(path).time
    assert time is not None
    assert str(time[1]) == second_state


# --- what is refused ---


def test_missing_file(tmp_path: Path) -> None:
    assert "not a readable HDF5 file" in refusal(tmp_path / "year.h5")


@pytest.mark.parametrize("content", [b"", b"no HDF5 at all", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_hdf5(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "year.h5"
    path.write_bytes(content)
    assert "not a readable HDF5 file" in refusal(path)


def test_truncated_file(tmp_path: Path) -> None:
    path = write_bare(tmp_path, shape=(6, 3, 32, 64))
    os.truncate(path, path.stat().st_size // 2)
    assert "the file is truncated" in refusal(path)


def test_missing_fields(tmp_path: Path) -> None:
    message = refusal(write_bare(tmp_path, name="field"))
    assert "no dataset 'fields' (found: field); a year file holds 'fields' [time, channel, lat, lon]" in message


def test_fields_that_are_no_dataset(tmp_path: Path) -> None:
    path = write_bare(tmp_path, name="fields/inner")
    assert "no dataset 'fields'" in refusal(path)


@pytest.mark.parametrize("shape", [(6, 4, 8), (6, 3, 4, 8, 1), (6,)])
def test_wrong_rank(tmp_path: Path, shape: tuple[int, ...]) -> None:
    message = refusal(write_bare(tmp_path, shape=shape))
    assert f"{FIELDS_AT}: shape {shape} has {len(shape)} dimensions" in message
    assert "must have 4: [time, channel, lat, lon]" in message


@pytest.mark.parametrize("dtype", ["int16", "int32", "complex64", "S4", "bool"])
def test_wrong_type(tmp_path: Path, dtype: str) -> None:
    message = refusal(write_bare(tmp_path, dtype=dtype))
    assert f"{FIELDS_AT}: type " in message
    assert "float16, float32 or float64" in message


@pytest.mark.parametrize("shape", [(0, 3, 4, 8), (6, 0, 4, 8), (6, 3, 4, 0)])
def test_empty_dimension(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert f"{FIELDS_AT}: shape {shape} is empty; every dimension is at least 1" in refusal(
        write_bare(tmp_path, shape=shape)
    )


@pytest.mark.parametrize("as_attribute", [True, False])
@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("channel", ["a", "b"], "'channel' has shape (2,); 'fields' has shape (6, 3, 4, 8), so 'channel' must have 3"),
        ("channel", ["a", "b", "a"], "channel names a stand there twice; channel names are unique"),
        ("channel_units", ["K"], "'channel_units' must have 3 entries"),
        ("latitude", [0.0, 1.0], "'latitude' must have 4 entries"),
        ("latitude", np.zeros((4, 8)), "'latitude' must have 4 entries"),
        ("latitude", [0.0, 10.0, 10.0, 20.0], "'latitude' is not monotonic within -90 to 90 degrees"),
        ("latitude", [0.0, 20.0, 10.0, 30.0], "'latitude' is not monotonic within -90 to 90 degrees"),
        ("latitude", [-91.0, 0.0, 10.0, 20.0], "'latitude' is not monotonic within -90 to 90 degrees"),
        ("latitude", [0.0, np.nan, 10.0, 20.0], "'latitude' is not finite at index 1"),
        ("latitude", ["a", "b", "c", "d"], "'latitude' holds no numbers"),
        ("longitude", [0.0], "'longitude' must have 8 entries"),
        ("longitude", [0.0, 1, 2, 3, 4, 5, 6, np.inf], "'longitude' is not finite at index 7"),
        ("time", [0.0, 6.0], "'time' must have 6 entries"),
        ("time", [0.0, 6, 12, np.nan, 24, 30], "'time' is not finite at index 3"),
    ],
)
def test_coordinate_that_does_not_fit(tmp_path: Path, as_attribute: bool, name: str, values: Any, message: str) -> None:
    path = write_bare(tmp_path)
    values = np.asarray(values)
    if values.dtype.kind == "U":
        values = values.astype(h5py.string_dtype())
    with h5py.File(path, "r+") as file:
        if as_attribute:
            file["fields"].attrs[name] = values
        else:
            file[name] = values
    assert message in refusal(path)


def test_names_in_another_encoding(tmp_path: Path) -> None:
    """Old tools write the degree sign in Latin-1: read it or refuse it, but say where."""
    path = write_bare(tmp_path)
    with h5py.File(path, "r+") as file:
        file["channel_units"] = np.array([b"\xb0C", b"m", b"K"])
    try:
        units = read_header(path).channel_units
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert units[1:] == ("m", "K")


@pytest.mark.parametrize(
    ("hours", "index", "earlier", "later"),
    [
        ([0, 6, 18, 12, 24, 30], 3, "2000-01-01T18:00:00", "2000-01-01T12:00:00"),
        ([0, 6, 6, 12, 18, 24], 2, "2000-01-01T06:00:00", "2000-01-01T06:00:00"),
    ],
)
def test_unsorted_time(tmp_path: Path, hours: list[int], index: int, earlier: str, later: str) -> None:
    path = write_bare(tmp_path)
    with h5py.File(path, "r+") as file:
        file["time"] = hours
        file["time"].attrs["units"] = "hours since 2000-01-01"
    message = refusal(path)
    assert f"time goes from {earlier} to {later} at index {index}; time increases strictly" in message


@pytest.mark.parametrize(
    "units",
    [
        None,
        7,
        "",
        "hours",
        "weeks since 2000-01-01",
        "hours since yesterday",
        "hours since 2000-13-01",
        "hours since 2000-01-32",
        "hours since 2000-01-01 25:00",
    ],
)
def test_bad_time_units(tmp_path: Path, units: Any) -> None:
    path = write_bare(tmp_path)
    with h5py.File(path, "r+") as file:
        file["time"] = np.arange(6) * 6
        if units is not None:
            file["time"].attrs["units"] = units
    message = refusal(path)
    assert "time has units" in message
    assert "units read like 'hours since 2000-01-01'" in message


# --- how a file comes to be ---


def test_written_file_reads_back(make_archive: Callable[..., WrittenArchive]) -> None:
    archive = make_archive(dtype="float64", chunks=(1, 1, 4, 8), compression="gzip")
    header = read_header(archive.path())
    assert (header.shape, header.dtype) == ((8, 3, 4, 8), np.dtype("float64"))
    assert header.channels == ("t2m", "u10", "z500")
    assert header.time is not None
    assert str(header.time[1]) == "2000-01-01T06:00:00"
    with h5py.File(archive.path()) as file:
        assert (file["fields"].chunks, file["fields"].compression, file["fields"].shuffle) == (
            (1, 1, 4, 8),
            "gzip",
            True,
        )


def test_layout_is_contiguous_unless_chunks_are_given(make_archive: Callable[..., WrittenArchive]) -> None:
    with h5py.File(make_archive().path()) as file:
        assert file["fields"].chunks is None


def test_file_has_its_name_only_once_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "train" / "year.h5"
    settings: dict[str, Any] = {
        "states": 2,
        "channels": ["a"],
        "latitude": default_latitude(2),
        "longitude": default_longitude(4),
        "time_hours": None,
    }
    with pytest.raises(KeyboardInterrupt), create_year_file(path, **settings) as fields:
        fields[0] = 1.0
        raise KeyboardInterrupt
    assert not path.exists()
    assert not list(path.parent.glob("*.h5")), "what is left is not taken for part of the archive"
    with create_year_file(path, **settings, channel_units=["K"], attributes={"source": "a test"}) as fields:
        fields[...] = 2.0
        assert not path.exists()
    header = read_header(path)
    assert (header.time, header.channel_units) == (None, ("K",))
    assert [found.name for found in path.parent.iterdir()] == ["year.h5"]
    with h5py.File(path) as file:
        assert file.attrs["source"] == "a test"
        assert (file["fields"][...] == 2.0).all()


def test_where_names_file_and_dataset(tmp_path: Path) -> None:
    header = read_header(write_bare(tmp_path))
    assert re.fullmatch(r"/.*/year\.h5, dataset 'fields'", header.where)
