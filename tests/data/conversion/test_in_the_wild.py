"""Files as models, archives and tools write them: what they leave unsaid, and what else they hold."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data.conversion.sources import LATITUDE, LONGITUDE, SPLIT, expected, field, run, states, times, write, xarray
from weather.data.conversion.sources import find_sources
from weather.errors import ConfigError, DataError

netCDF4 = pytest.importorskip("netCDF4", reason="netCDF4 is not installed")

TIME = times()
HOURS = np.arange(10) * 6
WHOLE = np.rint(expected(TIME) + 50)  # 38 to 116: fits into a byte
FIELD = ("time", "lat", "lon")
COORDINATES: dict[str, tuple[tuple[str, ...], Any, dict[str, Any]]] = {
    "time": (("time",), HOURS.astype("i4"), {"units": "hours since 2001-01-01"}),
    "lat": (("lat",), LATITUDE, {"units": "degrees_north"}),
    "lon": (("lon",), LONGITUDE, {"units": "degrees_east"}),
}


def lay(path: Path, variables: Mapping[str, tuple[tuple[str, ...], Any, dict[str, Any]]]) -> Path:
    """A file with numbers and attributes as they are given; a dimension is as long as the variable of its name."""
    variables = {**COORDINATES, **variables}
    with netCDF4.Dataset(path, "w") as file:
        for name, (dims, values, _) in variables.items():
            if dims == (name,):
                file.createDimension(name, len(values))
        for name, (dims, values, attributes) in variables.items():
            made = file.createVariable(name, values.dtype, dims, fill_value=attributes.get("_FillValue"))
            made.set_auto_maskandscale(False)
            made.setncatts({key: value for key, value in attributes.items() if key != "_FillValue"})
            made[...] = values
    return path


def channels(archive: Path) -> list[str]:
    with h5py.File(next((archive / "train").glob("*.h5"))) as file:
        return list(file["channel"].asstr()[()])


def test_codes_of_missing_values(tmp_path: Path) -> None:
    holed = WHOLE.astype("u1")
    holed[1, 2, 3] = 255
    floats = expected(TIME)
    floats[1, 2, 3] = 9.969209968386869e36  # what the library leaves where nothing was written
    source = lay(tmp_path / "a.nc", {
        "a": (FIELD, holed.view("i1"), {"_Unsigned": "true", "_FillValue": np.int8(-1)}),
        "b": (FIELD, floats, {"missing_value": np.float32(-999)}),
        "c": (FIELD, WHOLE.astype("i2"), {"missing_value": "none"}),
        "d": (FIELD, WHOLE.astype("i2"), {"missing_value": np.inf}),
        "lsm": (FIELD[1:], np.ones((7, 12), "i1"), {"dtype": "bool"}),
    })  # fmt: skip
    run(source, tmp_path / "out", *SPLIT, "--fill", "7", "--static", "lsm")
    wanted = np.stack([WHOLE, expected(TIME), WHOLE, WHOLE], axis=1)
    wanted[1, :2, 2, 3] = 7
    np.testing.assert_array_equal(states(tmp_path / "out")[0], wanted)
    with h5py.File(tmp_path / "out/static.h5") as file:
        assert (file["fields"][()] == 1).all()


def test_coordinates_are_unpacked(tmp_path: Path) -> None:
    """A region: degrees that are not unpacked would be those of another place."""
    source = lay(tmp_path / "a.nc", {
        "time": (("time",), HOURS.astype("i2") // 2, {"units": "hours since 2001-01-01", "scale_factor": 2.0}),
        "lat": (("lat",), np.arange(20, 27, dtype="i2"), {"units": "degrees_north", "scale_factor": 0.5}),
        "lon": (("lon",), np.arange(12, dtype="i2"), {"units": "degrees_east", "add_offset": -5.0}),
        "t2m": (FIELD, expected(TIME), {"units": "K"}),
    })  # fmt: skip
    run(source, tmp_path / "out", *SPLIT)
    np.testing.assert_array_equal(states(tmp_path / "out")[1], TIME.astype("datetime64[s]"))
    with h5py.File(tmp_path / "out/train/2001.h5") as file:
        np.testing.assert_array_equal(file["latitude"][()], np.arange(13, 9.5, -0.5))
        np.testing.assert_array_equal(file["longitude"][()], np.arange(-5, 7))


def test_what_is_not_asked_for_is_no_hindrance(tmp_path: Path) -> None:
    source = lay(tmp_path / "a.nc", {
        "t2m": (FIELD, expected(TIME), {"units": "K"}),
        "depth": (("depth",), np.array([0.1, 0.4]), {"units": "m", "axis": "Z", "positive": "down"}),
        "soil": (("time", "depth", "lat", "lon"), np.zeros((10, 2, 7, 12), "f4"), {}),
        "level": (("level",), np.array([1, 2]), {}),
        "w": (("time", "level", "lat", "lon"), np.zeros((10, 2, 7, 12), "f4"), {}),
        "none": (("none",), np.zeros(0), {}),
        "e": (("time", "none", "lat", "lon"), np.zeros((10, 0, 7, 12), "f4"), {}),
        "lsm": (FIELD[1:], WHOLE[0], {}),
    })  # fmt: skip
    run(source, tmp_path / "out", *SPLIT, "--variables", "t2m")
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME))
    for name, message in (("soil", "'depth' has 2 entries"), ("w", "the levels 'level' have units None"),
                          ("w500", "the levels 'level' have units None"), ("e", "is empty")):  # fmt: skip
        with pytest.raises(DataError, match=message):
            run(source, tmp_path / "refused", *SPLIT, "--variables", name)
    with pytest.raises(ConfigError, match="no variable 'lsm' .*and without a time, for --static, land_sea_mask"):
        run(source, tmp_path / "refused", *SPLIT, "--variables", "lsm")
    with pytest.raises(ConfigError, match="no variable has the dimension 'depht'.*did you mean 'depth'"):
        run(source, tmp_path / "refused", *SPLIT, "--variables", "t2m", "--select", "depht=0.1")


def test_grib_with_one_quantity_at_many_heights(tmp_path: Path) -> None:
    eccodes = pytest.importorskip("eccodes", reason="eccodes is not installed")
    pytest.importorskip("cfgrib", reason="cfgrib is not installed")
    rows = {"Ni": 12, "Nj": 7, "iDirectionIncrementInDegrees": 30.0, "jDirectionIncrementInDegrees": 30.0,
            "latitudeOfFirstGridPointInDegrees": 90.0, "latitudeOfLastGridPointInDegrees": -90.0,
            "longitudeOfFirstGridPointInDegrees": 0.0, "longitudeOfLastGridPointInDegrees": 330.0}  # fmt: skip
    heights = [("t", "isobaricInhPa", 500), ("t", "isobaricInhPa", 850), ("t", "heightAboveGround", 80),
               ("t", "heightAboveGround", 100), ("t", "surface", 0), ("2t", "", 0)]  # fmt: skip
    with open(tmp_path / "gfs.f000", "wb") as file:
        for day in range(5):
            for number, (name, kind, level) in enumerate(heights):
                message = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
                for key, value in {**rows, "dataDate": 20010101 + day, "shortName": name, "bitsPerValue": 24}.items():
                    eccodes.codes_set(message, key, value)
                if kind:
                    eccodes.codes_set(message, "typeOfLevel", kind)
                    eccodes.codes_set(message, "level", level)
                eccodes.codes_set_values(message, np.full(84, 10.0 * day + number))
                eccodes.codes_write(message, file)
                eccodes.codes_release(message)
    run(tmp_path / "gfs.f000", tmp_path / "out", *SPLIT, "--variables", "t2m", "t500", "t850")
    found, _ = states(tmp_path / "out")
    np.testing.assert_array_equal(found[:, :, 0, 0], np.arange(5)[:, None] * 10.0 + [5, 0, 1])
    whole = (tmp_path / "gfs.f000").read_bytes()
    last = whole[whole.rfind(b"GRIB") :]
    (tmp_path / "twice.grib").write_bytes(last + last)
    assert "1 states" in run(tmp_path / "twice.grib", tmp_path / "twice", "--split", "1,0,0").text
    with open(tmp_path / "twice.grib", "ab") as file:  # and once more, with another value
        message = eccodes.codes_new_from_message(last)
        eccodes.codes_set_values(message, np.full(84, 3.0))
        eccodes.codes_write(message, file)
        eccodes.codes_release(message)
    with pytest.raises(
        DataError, match=rf"the messages at bytes 0 and {2 * len(last)} are of one time, step and level"
    ):
        run(tmp_path / "twice.grib", tmp_path / "refused", "--split", "1,0,0")
    with pytest.raises(DataError, match="a variable with levels, and here one without; name the level, as in t500"):
        run(tmp_path / "gfs.f000", tmp_path / "refused", *SPLIT, "--variables", "t")


def test_a_quantity_may_change_its_name_between_files(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME[:5])})
    write(tmp_path / "b.nc", {"2m_temperature": field(TIME[5:], units="Kelvin")})
    run(tmp_path / "*.nc", tmp_path / "out", *SPLIT, "--variables", "t2m")
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME))


def test_members_may_have_names(tmp_path: Path) -> None:
    both = xarray.concat([field(TIME), field(TIME) + 9], xarray.DataArray(["r1", "r2"], dims="member", name="member"))
    source = write(tmp_path / "a.nc", {"t2m": both})
    run(source, tmp_path / "out", *SPLIT, "--select", "member=r2")
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME) + 9)
    with pytest.raises(DataError, match=r"member = 2 is not there.*: r1, r2; choose: --select member=r1"):
        run(source, tmp_path / "refused", *SPLIT, "--select", "member=2")


def test_forecasts_of_the_climate_data_store(tmp_path: Path) -> None:
    source = lay(tmp_path / "a.nc", {
        "forecast_reference_time": (("forecast_reference_time",), np.arange(5) * 12,
                                    {"units": "hours since 2001-01-01", "standard_name": "forecast_reference_time"}),
        "forecast_period": (("forecast_period",), np.array([0.0, 6.0]), {"units": "hours"}),
        "t2m": (("forecast_reference_time", "forecast_period", "lat", "lon"), expected(TIME).reshape(5, 2, 7, 12), {}),
    })  # fmt: skip
    run(source, tmp_path / "out", *SPLIT)
    found, time = states(tmp_path / "out")
    np.testing.assert_array_equal(time, TIME.astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 0], expected(TIME))


def test_hybrid_levels_are_no_pressures_whatever_their_units(tmp_path: Path) -> None:
    """CESM gives the pressure that they would have over the sea."""
    levels = {"units": "hPa", "positive": "down", "long_name": "hybrid level at midpoints (1000*(A+B))"}
    fields = expected(TIME, levels=[3.0, 992.0])
    for values, wanted in (([3.64, 992.5], ["t_level3.64", "t_level992.5"]), ([500.0, 500.0], None)):
        source = lay(tmp_path / "a.nc", {"lev": (("lev",), np.array(values), levels),
                                         "T": (("time", "lev", "lat", "lon"), fields, {"units": "K"})})  # fmt: skip
        if wanted is None:
            with pytest.raises(DataError, match="hold one twice"):
                run(source, tmp_path / "refused", *SPLIT)
            continue
        run(source, tmp_path / "out", *SPLIT)
        assert channels(tmp_path / "out") == wanted


def test_a_standard_name_does_not_say_at_which_height(tmp_path: Path) -> None:
    near = {"units": "K", "standard_name": "air_temperature"}
    source = lay(tmp_path / "a.nc", {"T_2M": (FIELD, expected(TIME), near), "T_G": (FIELD, expected(TIME) + 1, near)})
    run(source, tmp_path / "out", *SPLIT)
    assert channels(tmp_path / "out") == ["T_2M", "T_G"]


def test_groups_are_named(tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createGroup("surface")
    with pytest.raises(
        DataError, match=r"it has groups \(surface\), which are not looked into: give each its own file"
    ):
        run(tmp_path / "a.nc", tmp_path / "out", *SPLIT)
    pytest.importorskip("zarr", minversion="3.0", reason="zarr 3 needs Python 3.11")
    xarray.Dataset({"t2m": field(TIME)}).to_zarr(tmp_path / "a.zarr", group="surface", consolidated=False)
    with pytest.raises(DataError, match=r"name .*a\.zarr/surface"):
        run(tmp_path / "a.zarr", tmp_path / "out", *SPLIT)
    run(tmp_path / "a.zarr/surface", tmp_path / "out", *SPLIT)
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME))


def test_files_are_found_once_and_hidden_ones_left_out(tmp_path: Path) -> None:
    kept = write(tmp_path / "s/a.nc", {"t2m": field(TIME)})
    (tmp_path / "s/._a.nc").write_bytes(b"\0\5\x16\7")
    (tmp_path / "link.nc").symlink_to(kept)
    (tmp_path / "s/out/train").mkdir(parents=True)  # an archive beside its sources
    for words in (["s"], ["s/*"], ["s/a.nc", "link.nc", "s", "s/../s/a.nc"]):
        assert [file.path for file in find_sources([str(tmp_path / word) for word in words])] == [str(kept)]


def test_chunks_are_not_cached(tmp_path: Path) -> None:
    """Each is read once; the library's cache for each variable of each open file would take gigabytes."""
    source = write(tmp_path / "a.nc", {"t2m": field(TIME)}, {"t2m": {"zlib": True, "chunksizes": (2, 7, 12)}})
    netCDF4.set_chunk_cache(2**24)
    run(source, tmp_path / "out", *SPLIT)
    with netCDF4.Dataset(source) as file:
        assert file["t2m"].get_var_chunk_cache()[0] == 0


def test_what_the_disk_does_not_take_is_said_of_the_file(tmp_path: Path) -> None:
    """A quota is reached while states are written; here it is a limit of the size of a file."""
    source = write(tmp_path / "a.nc", {"t2m": field(times(100))})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def reach_the_limit() -> bool:  # asked between blocks, when the file is laid out
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
        return False

    try:
        with pytest.raises(DataError, match=r"2001\.h5\.unfinished: the file cannot be written .*then goes on"):
            run(
                source, tmp_path / "out", *SPLIT, stop=lambda: any(tmp_path.rglob("*.unfinished")) and reach_the_limit()
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run(source, tmp_path / "out", *SPLIT)
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(times(100)))


@pytest.mark.parametrize(("words", "message"), [(["--step_hours", "nan"], "at least a minute"),
                                                (["--resolution", "1e-9"], "2 to 65536")])  # fmt: skip
def test_numbers_without_sense_are_refused(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(write(tmp_path / "a.nc", {"t2m": field(TIME)}), tmp_path / "out", *SPLIT, *words)
