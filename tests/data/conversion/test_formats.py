"""The same fields out of every format and layout make the same archive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data.conversion.sources import LATITUDE, LONGITUDE, SPLIT, expected, field, run, states, times, write, xarray
from weather.config.schema import DataSection
from weather.data.archive import open_archive
from weather.data.statistics import read_record
from weather.errors import ConfigError, DataError

TIME = times(30)


def both() -> dict[str, Any]:
    return {"2m_temperature": field(TIME), "geopotential": field(TIME, levels=[500.0, 850.0], units="m**2 s**-2")}


def wanted() -> np.ndarray:
    levels = expected(TIME, levels=[500.0, 850.0])
    return np.concatenate([levels[:, 1:], expected(TIME)[:, None], levels[:, :1]], axis=1)


CHOSEN = ("--variables", "z850", "t2m", "geopotential500=z500")


def check(archive: Path) -> None:
    found, time = states(archive)
    np.testing.assert_array_equal(time, TIME.astype("datetime64[s]"))
    np.testing.assert_array_equal(found, wanted())
    opened = open_archive(DataSection(data_dir=str(archive)))
    assert opened.channels == ("z850", "t2m", "z500") and opened.channel_units == ("m2 s-2", "K", "m2 s-2")
    training = states(archive, ["train"])[0].astype(np.float64)
    np.testing.assert_allclose(opened.statistics.means, training.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(opened.statistics.stds, training.std(axis=(0, 2, 3)), rtol=1e-6)
    record = read_record(archive)
    assert record is not None
    np.testing.assert_allclose(record.moments.maximum, training.max(axis=(0, 2, 3)))


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_netcdf_whole_by_variable_and_by_month(tmp_path: Path, kind: str) -> None:
    fields = both()
    for name, values in fields.items():
        for part, chosen in enumerate((slice(0, 13), slice(13, 30))):
            write(tmp_path / f"s/{name}_{part}.nc", {name: values.isel(time=chosen)}, format=kind)
    run(tmp_path / "s", tmp_path / "out", *SPLIT, *CHOSEN)
    check(tmp_path / "out")


@pytest.mark.parametrize("encoding", [{"zlib": True, "chunksizes": (7, 1, 3, 5)}, {"chunksizes": (30, 2, 7, 12)}])
def test_netcdf_in_chunks(tmp_path: Path, encoding: dict[str, Any]) -> None:
    run(write(tmp_path / "a.nc", both(), {"geopotential": encoding}), tmp_path / "out", *SPLIT, *CHOSEN)
    check(tmp_path / "out")


@pytest.mark.parametrize(("version", "consolidated"), [(2, True), (2, False), (3, False)])
def test_zarr(tmp_path: Path, version: int, consolidated: bool) -> None:
    pytest.importorskip("zarr", minversion="3.0", reason="zarr 3 needs Python 3.11")
    dataset = xarray.Dataset(both()).transpose("time", "level", "longitude", "latitude")
    encoding = {"geopotential": {"chunks": (4, 1, 12, 7)}, "2m_temperature": {"chunks": (4, 12, 7)}}
    dataset.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=consolidated, encoding=encoding)
    run(tmp_path / "a.zarr", tmp_path / "out", *SPLIT, *CHOSEN)
    check(tmp_path / "out")


def test_grib_with_several_hypercubes(tmp_path: Path) -> None:
    eccodes = pytest.importorskip("eccodes", reason="eccodes is not installed")
    pytest.importorskip("cfgrib", reason="cfgrib is not installed")
    path = tmp_path / "a.grib"
    fields = both()
    with open(path, "wb") as file:
        for number, moment in enumerate(TIME):
            for name, level, values in (("2t", 0, fields["2m_temperature"][number].values),
                                        ("z", 850, fields["geopotential"][number, 1].values),
                                        ("z", 500, fields["geopotential"][number, 0].values)):  # fmt: skip
                message = eccodes.codes_grib_new_from_samples(
                    "regular_ll_pl_grib1" if level else "regular_ll_sfc_grib1"
                )
                day, clock = str(moment.astype("datetime64[m]")).split("T")
                settings: dict[str, Any] = {
                    "Ni": len(LONGITUDE), "Nj": len(LATITUDE), "iDirectionIncrementInDegrees": 30.0,
                    "jDirectionIncrementInDegrees": 30.0, "latitudeOfFirstGridPointInDegrees": 90.0,
                    "latitudeOfLastGridPointInDegrees": -90.0, "longitudeOfFirstGridPointInDegrees": 0.0,
                    "longitudeOfLastGridPointInDegrees": 330.0, "dataDate": int(day.replace("-", "")),
                    "dataTime": int(clock.replace(":", "")), "shortName": name, "bitsPerValue": 24,
                }  # fmt: skip
                if level:
                    settings["level"] = level
                for key, value in settings.items():
                    eccodes.codes_set(message, key, value)
                eccodes.codes_set_values(message, values.reshape(-1).astype(float))
                eccodes.codes_write(message, file)
                eccodes.codes_release(message)
    run(path, tmp_path / "out", *SPLIT, "--variables", "z850", "t2m", "z500")
    found, time = states(tmp_path / "out")
    np.testing.assert_array_equal(time, TIME.astype("datetime64[s]"))
    np.testing.assert_allclose(found, wanted(), atol=1e-3)  # 24 bits of a range of 100 m2 s-2 and less
    assert not list(tmp_path.glob("*.idx"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"a\.grib: the file is truncated: the message at byte \d+ is cut off"):
        run(path, tmp_path / "cut", *SPLIT)


def test_chunked_layout_on_request(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", both())
    for words, chunks in (((), None), (("--chunked",), (1, 3, 7, 12))):
        archive = tmp_path / f"out{len(words)}"
        run(source, archive, *SPLIT, *CHOSEN, *words)
        check(archive)
        with h5py.File(archive / "train/2001.h5") as file:
            assert file["fields"].chunks == chunks and file["fields"].dtype == np.float32


def test_constant_fields_go_to_their_own_file(tmp_path: Path) -> None:
    mask = field(TIME)[0].drop_vars("time")
    source = write(tmp_path / "a.nc", {"lsm": mask, "t2m": field(TIME)})
    run(source, tmp_path / "out", *SPLIT, "--static", "lsm")
    with h5py.File(tmp_path / "out/static.h5") as file:
        assert file["channel"].asstr()[()].tolist() == ["land_sea_mask"]
        np.testing.assert_array_equal(file["fields"][0], mask)
    assert open_archive(DataSection(data_dir=str(tmp_path / "out"))).channels == ("t2m",)
    write(tmp_path / "b.nc", {"lsm": mask + 1})
    run(tmp_path / "*.nc", tmp_path / "other", *SPLIT, "--static", "b.nc:lsm")
    with h5py.File(tmp_path / "other/static.h5") as file:
        np.testing.assert_array_equal(file["fields"][0], mask + 1)


def test_splits_by_years_days_and_default(tmp_path: Path) -> None:
    time = times(40, "2001-01-01", 24 * 31)
    source = write(tmp_path / "a.nc", {"t2m": field(time)})
    for name, words, files in (
        ("default", [], {"train": ["2001", "2002"], "valid": ["2003"], "test": ["2004"]}),
        ("years", ["--years", "2002,2004", "--valid_years", "2001", "--test_years", "2003"],
         {"train": ["2002", "2004"], "valid": ["2001"], "test": ["2003"]}),
        ("days", ["--valid_from", "2002-06-01", "--test_from", "2003-01-01"],
         {"train": ["2001", "2002"], "valid": ["2002"], "test": ["2003", "2004"]}),
    ):  # fmt: skip
        run(source, tmp_path / name, *words)
        found = {split: sorted(path.stem for path in (tmp_path / name / split).iterdir()) for split in files}
        assert found == files
    _, days = states(tmp_path / "days", ["valid"])
    assert days[0] >= np.datetime64("2002-06-01") and days[-1] < np.datetime64("2003-01-01")


def test_a_single_state_is_for_training(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", {"t2m": field(times(1))})
    with pytest.raises(ConfigError, match="--split 1,0,0"):
        run(source, tmp_path / "out")
    run(source, tmp_path / "out", "--split", "1,0,0")
    found, _ = states(tmp_path / "out")
    np.testing.assert_array_equal(found[:, 0], expected(times(1)))
    np.testing.assert_allclose(np.load(tmp_path / "out/stats/global_means.npy").item(), found.mean(), atol=1e-6)


def test_a_dry_run_says_all_and_writes_nothing(tmp_path: Path) -> None:
    outcome = run(write(tmp_path / "a.nc", both()), tmp_path / "out", *SPLIT, "--dry-run")
    for word in ("z500 [m2 s-2]", "7 x 12", "30 states", "memory", "time "):
        assert word in outcome.text
    assert not (tmp_path / "out").exists()


def test_every_sixth_hour_of_hourly_data(tmp_path: Path) -> None:
    hourly = times(48, step_hours=1)
    source = write(tmp_path / "a.nc", {"t2m": field(hourly)}, {"t2m": {"chunksizes": (10, 7, 12)}})
    run(source, tmp_path / "out", *SPLIT, "--step_hours", "6")
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(hourly)[::6])


def test_provenance_names_sources_and_arguments(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", both())
    run(source, tmp_path / "out", *SPLIT)
    said = json.loads((tmp_path / "out/provenance.json").read_text())
    assert said["sources"][0]["path"] == str(source) and said["sources"][0]["size"] == source.stat().st_size
    assert said["request"]["split"]["shares"] == [0.6, 0.2, 0.2] and "xarray" in said["packages"]
