"""Messy input: each kind is handled, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from tests.data.conversion.sources import LATITUDE, LONGITUDE, SPLIT, expected, field, run, states, times, write, xarray
from weather.errors import ConfigError, DataError

TIME = times()


def notes(archive: Path) -> str:
    return "\n".join(json.loads((archive / "provenance.json").read_text())["notes"])


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [
        (LATITUDE[::-1], LONGITUDE),
        (LATITUDE, LONGITUDE - 180),
        (LATITUDE, LONGITUDE[[3, 0, 1, 2, *range(11, 3, -1)]]),
        (LATITUDE, np.append(LONGITUDE, 360.0)),
        (LATITUDE[::-1], np.append(LONGITUDE - 180, 180.0)),
        (LATITUDE, LONGITUDE + 20 * 360),
    ],
)
def test_rows_and_columns_come_in_one_order(tmp_path: Path, latitude: np.ndarray, longitude: np.ndarray) -> None:
    source = write(tmp_path / "a.nc", {"t2m": field(TIME, latitude, longitude)})
    run(source, tmp_path / "out", *SPLIT)
    found, _ = states(tmp_path / "out")
    np.testing.assert_allclose(found[:, 0], expected(TIME), atol=1e-5)
    with h5py.File(tmp_path / "out/train/2001.h5") as file:
        np.testing.assert_allclose(file["latitude"][()], LATITUDE)
        np.testing.assert_allclose(file["longitude"][()], LONGITUDE, atol=1e-6)


def test_dimensions_come_in_any_order(tmp_path: Path) -> None:
    levels = field(TIME, levels=[850.0, 500.0]).transpose("level", "longitude", "latitude", "time")
    run(write(tmp_path / "a.nc", {"temperature": levels}), tmp_path / "out", *SPLIT)
    found, _ = states(tmp_path / "out")
    np.testing.assert_array_equal(found, expected(TIME, levels=[500.0, 850.0]))


def test_a_region_keeps_its_degrees_and_is_said(tmp_path: Path) -> None:
    longitude = np.array([340.0, 350.0, 0.0, 10.0]) + 1.48e-12  # as computed, not written
    outcome = run(write(tmp_path / "a.nc", {"t2m": field(TIME, LATITUDE[1:4], longitude)}), tmp_path / "out", *SPLIT)
    assert "the grid is a region" in outcome.text
    with h5py.File(tmp_path / "out/train/2001.h5") as file:
        np.testing.assert_array_equal(file["longitude"][()], [340, 350, 360, 370])


def test_unsorted_and_doubled_times(tmp_path: Path) -> None:
    whole = field(TIME)
    order = [4, 5, 6, 0, 1, 2, 3, 7, 8, 9, 8]
    write(tmp_path / "s/a.nc", {"t2m": whole.isel(time=order)})
    write(tmp_path / "s/b.nc", {"t2m": whole.isel(time=slice(7, 10))})
    run(tmp_path / "s", tmp_path / "out", *SPLIT)
    found, time = states(tmp_path / "out")
    np.testing.assert_array_equal(time, TIME.astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 0], expected(TIME))
    assert "4 state(s) were there twice" in notes(tmp_path / "out") and "are sorted" in notes(tmp_path / "out")


def test_doubled_times_with_other_fields_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME)})
    other = field(TIME)
    write(tmp_path / "b.nc", {"t2m": other.copy(data=other.values + 1)})
    with pytest.raises(DataError, match=r"two fields of 2001-01-01T00:00:00 differ .*b\.nc"):
        run(tmp_path / "*.nc", tmp_path / "out", *SPLIT)


def test_missing_steps_are_gaps_and_a_state_has_all_channels(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME).isel(time=[0, 1, 2, 3, 5, 6, 7, 8, 9])})
    write(tmp_path / "b.nc", {"msl": field(TIME, units="Pa").isel(time=slice(0, 9))})
    run(tmp_path / "*.nc", tmp_path / "out", *SPLIT)
    found, time = states(tmp_path / "out")
    assert len(time) == 8 and not np.isin(TIME[[4, 9]].astype("datetime64[s]"), time).any()
    np.testing.assert_array_equal(found[4], expected(TIME)[[5, 5]])
    assert json.loads((tmp_path / "out/provenance.json").read_text())["splits"]["train"]["missing_steps"] == 1
    assert "t2m: 1 state(s) are left out as gaps" in notes(tmp_path / "out")


def test_packed_integers_and_their_fill_value(tmp_path: Path) -> None:
    values = field(TIME) + 250
    values[2, 3, 4] = np.nan
    encoding = {"t2m": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32767}}
    source = write(tmp_path / "a.nc", {"t2m": values}, encoding)
    with pytest.raises(
        DataError, match=r"2001-01-01T12:00:00: 1 of 84 values are missing.*latitude 0, longitude 120.*--fill"
    ):
        run(source, tmp_path / "out", *SPLIT)
    run(source, tmp_path / "out", *SPLIT, "--fill", "-5")  # what a refused attempt left is no hindrance
    found, _ = states(tmp_path / "out")
    assert found[2, 0, 3, 4] == -5
    found[2, 0, 3, 4] = values.mean()
    np.testing.assert_allclose(found[:, 0], np.where(np.isnan(values), float(values.mean()), values), atol=0.006)


@pytest.mark.parametrize("code", [{"missing_value": -99.9}, {"_FillValue": 1e20}, {}])
def test_missing_values_are_known_by_their_attributes(tmp_path: Path, code: dict[str, float]) -> None:
    values = field(TIME)
    hole = next(iter(code.values()), np.nan)
    values[0, 0, 0] = hole
    values.attrs.update({name: np.float32(value) for name, value in code.items() if name == "missing_value"})
    encoding = {"t2m": {"_FillValue": np.float32(code["_FillValue"]) if "_FillValue" in code else None}}
    with pytest.raises(DataError, match="1 of 84 values are missing, the first at latitude 90, longitude 0"):
        run(write(tmp_path / "a.nc", {"t2m": values}, encoding), tmp_path / "out", *SPLIT)


def test_land_is_filled_with_the_mean_or_the_nearest(tmp_path: Path) -> None:
    values = field(TIME)
    values[:, 2:4, 5:7] = np.nan
    source = write(tmp_path / "a.nc", {"sst": values})
    run(source, tmp_path / "mean", *SPLIT, "--fill", "mean")
    weights = np.cos(np.deg2rad(values.latitude))
    mean = states(tmp_path / "mean")[0][:, 0, 2, 5]
    # Weights of cells with poles differ a little from the cosine.
    np.testing.assert_allclose(mean, values.weighted(weights).mean(["latitude", "longitude"]), rtol=0.03, atol=0.3)
    pytest.importorskip("scipy", reason="scipy is not installed")
    run(source, tmp_path / "nearest", *SPLIT, "--fill", "nearest")
    found, _ = states(tmp_path / "nearest")
    np.testing.assert_array_equal(found[:, 0, 2, 5], values[:, 2, 4])
    np.testing.assert_array_equal(found[:, 0, 2, 6], values[:, 2, 7])


def test_states_that_cannot_be_filled_are_dropped(tmp_path: Path) -> None:
    values = field(TIME)
    values[3] = np.nan
    values[4, 0, 0] = np.nan
    source = write(tmp_path / "a.nc", {"t2m": values})
    with pytest.raises(DataError, match="84 of 84 values"):
        run(source, tmp_path / "refused", *SPLIT, "--fill", "mean")
    run(source, tmp_path / "some", *SPLIT, "--fill", "mean", "--drop_missing")
    run(source, tmp_path / "all", *SPLIT, "--drop_missing")
    assert len(states(tmp_path / "some")[0]) == 9
    found, time = states(tmp_path / "all")
    np.testing.assert_array_equal(time, np.delete(TIME, [3, 4]).astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 0], np.delete(expected(TIME), [3, 4], axis=0))
    values[9] = np.nan
    run(write(tmp_path / "b.nc", {"t2m": values}), tmp_path / "last", *SPLIT, "--drop_missing")
    said = json.loads((tmp_path / "last" / "provenance.json").read_text())["splits"]["test"]
    assert said["last"] == said["first"] == str(TIME[8].astype("datetime64[s]"))


def test_infinite_values_are_refused_whatever_the_rule(tmp_path: Path) -> None:
    values = field(TIME)
    values[1, 2, 3] = np.inf
    with pytest.raises(DataError, match="infinite value at latitude 30, longitude 90"):
        run(write(tmp_path / "a.nc", {"t2m": values}), tmp_path / "out", *SPLIT, "--fill", "0", "--drop_missing")


def test_era5t_in_a_second_version(tmp_path: Path) -> None:
    whole = field(TIME)
    first, second = whole.copy(), whole.copy()
    first[6:], second[:6] = np.nan, np.nan
    both = xarray.concat([first, second], xarray.DataArray([1, 5], dims="expver", name="expver"))
    both = both.transpose("time", "expver", "latitude", "longitude")
    run(write(tmp_path / "a.nc", {"t2m": both}), tmp_path / "out", *SPLIT)
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME))


def test_a_calendar_without_leap_days_has_a_gap(tmp_path: Path) -> None:
    values = field(times(10, "2004-02-26", 24))
    time = xarray.date_range("2004-02-26", periods=10, freq="D", calendar="noleap", use_cftime=True)
    run(write(tmp_path / "a.nc", {"t2m": values.assign_coords(time=time)}), tmp_path / "out", *SPLIT)
    days = states(tmp_path / "out")[1].astype("datetime64[D]").astype(str).tolist()
    assert days[2:4] == ["2004-02-28", "2004-03-01"] and len(days) == 10


def test_a_calendar_of_other_days_is_refused(tmp_path: Path) -> None:
    time = xarray.date_range("2004-02-26", periods=10, freq="D", calendar="360_day", use_cftime=True)
    source = write(tmp_path / "a.nc", {"t2m": field(TIME).assign_coords(time=time)})
    with pytest.raises(DataError, match="calendar is '360_day'.*convert_calendar"):
        run(source, tmp_path / "out", *SPLIT)


def test_months_and_wavering_steps_are_one_step(tmp_path: Path) -> None:
    months = np.arange("2001-01", "2004-01", dtype="datetime64[M]").astype("datetime64[ns]")
    outcome = run(write(tmp_path / "a.nc", {"t2m": field(months)}), tmp_path / "out")
    assert "missing" not in outcome.text
    assert [path.name for split in ("train", "valid", "test") for path in (tmp_path / "out" / split).iterdir()] == [
        "2001.h5", "2002.h5", "2003.h5"]  # fmt: skip


def test_forecasts_are_valid_at_initial_time_plus_step(tmp_path: Path) -> None:
    initial = times(5, step_hours=12)
    steps = np.array([6, 12], "timedelta64[h]").astype("timedelta64[ns]")
    valid = initial[:, None] + steps
    values = np.stack([expected(valid[:, step]) for step in range(2)], axis=1)
    data = xarray.DataArray(values, {"time": initial, "step": steps, "latitude": LATITUDE, "longitude": LONGITUDE},
                            ("time", "step", "latitude", "longitude"), attrs={"units": "K"})  # fmt: skip
    source = write(tmp_path / "a.nc", {"t2m": data}, {"step": {"units": "hours"}})
    run(source, tmp_path / "all", *SPLIT)
    found, time = states(tmp_path / "all")
    np.testing.assert_array_equal(time, valid.reshape(-1).astype("datetime64[s]"))
    np.testing.assert_array_equal(found[:, 0], expected(valid.reshape(-1)))
    assert "steps of forecasts" in notes(tmp_path / "all")
    run(source, tmp_path / "one", *SPLIT, "--select", "step=12")
    np.testing.assert_array_equal(states(tmp_path / "one")[0][:, 0], expected(valid[:, 1]))


def test_members_are_chosen(tmp_path: Path) -> None:
    members = xarray.concat([field(TIME), field(TIME) + 100], xarray.DataArray([0, 1], dims="number", name="number"))
    source = write(tmp_path / "a.nc", {"t2m": members})
    with pytest.raises(DataError, match=r"'number' has 2 entries; .*: 0, 1; choose: --select number=0"):
        run(source, tmp_path / "out", *SPLIT)
    run(source, tmp_path / "out", *SPLIT, "--select", "number=1")
    np.testing.assert_array_equal(states(tmp_path / "out")[0][:, 0], expected(TIME) + 100)


def test_time_without_units_is_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", {"t2m": field(TIME).assign_coords(time=np.arange(10) * 6)})
    with pytest.raises(DataError, match="'time' has no units.*--time_units"):
        run(source, tmp_path / "out", *SPLIT)
    run(source, tmp_path / "out", *SPLIT, "--time_units", "hours since 2001-01-01")
    np.testing.assert_array_equal(states(tmp_path / "out")[1], TIME.astype("datetime64[s]"))


def test_files_of_different_grids_or_units_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME[:5])})
    write(tmp_path / "b.nc", {"t2m": field(TIME[5:], LATITUDE[1:-1])})
    with pytest.raises(DataError, match=r"5 x 12 .*but 7 x 12 .*a\.nc"):
        run(tmp_path / "*.nc", tmp_path / "out", *SPLIT)
    write(tmp_path / "b.nc", {"t2m": field(TIME[5:], units="degC")})
    with pytest.raises(DataError, match="units are 'degC', but 'K' in"):
        run(tmp_path / "*.nc", tmp_path / "out", *SPLIT)


def test_other_units_are_kept_and_said(tmp_path: Path) -> None:
    outcome = run(write(tmp_path / "a.nc", {"t2m": field(TIME, units="degC")}), tmp_path / "out", *SPLIT)
    assert "t2m has units degC (in ERA5 K)" in outcome.text
    with h5py.File(tmp_path / "out/train/2001.h5") as file:
        assert file["channel_units"].asstr()[()].tolist() == ["degC"]


@pytest.mark.parametrize("kind", ["NETCDF4", "NETCDF3_CLASSIC", "NETCDF3_64BIT"])
def test_truncated_files_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "cut.nc", {"t2m": field(TIME)}, format=kind)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"cut\.nc: the file (is truncated|cannot be read)"):
        run(path, tmp_path / "out", *SPLIT)


def test_empty_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    for content, message in ((b"", "the file is empty"), (b"<html>404</html>", "neither NetCDF nor GRIB")):
        (tmp_path / "x.nc").write_bytes(content)
        with pytest.raises(DataError, match=rf"x\.nc: {message}"):
            run(tmp_path / "x.nc", tmp_path / "out")
    with pytest.raises(DataError, match="nothing is there"):
        run(tmp_path / "none*.nc", tmp_path / "out")


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    source = write(tmp_path / "a.nc", {"t2m": field(TIME)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(DataError, match=r"3360 bytes .* are needed and 1000 .* free"):
        run(source, tmp_path / "out", *SPLIT)
    assert not list((tmp_path / "out").rglob("*.h5*"))


def test_what_cannot_be_chosen_is_refused_with_what_is_there(tmp_path: Path) -> None:
    source = write(tmp_path / "a.nc", {"temperature": field(TIME, levels=[500.0, 850.0])})
    cases: list[tuple[list[Any], str]] = [
        (["--variables", "temperatur"], r"no variable 'temperatur'.*t \(temperature\).*did you mean 'temperature'"),
        (["--levels", "600"], "no level 600; it has 500, 850"),
        (["--variables", "t", "t500"], "two channels would be called 't500'"),
        (["--years", "2003"], "2003 not in the sources.*2001"),
        ([], "1 calendar year.*--valid_from"),
    ]
    for words, message in cases:
        with pytest.raises((ConfigError, DataError), match=message):
            run(source, tmp_path / "out", *words)


def test_a_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME)})
    for existing in (False, True):
        if existing:
            (tmp_path / "out").mkdir()
        with pytest.raises(ConfigError, match="no variable 'u10'"):
            run(tmp_path / "a.nc", tmp_path / "out", *SPLIT, "--variables", "u10")
        assert (tmp_path / "out").exists() == existing
    with pytest.raises(ConfigError, match="no variable that is converted has levels.*leave it out"):
        run(tmp_path / "a.nc", tmp_path / "out", *SPLIT, "--levels", "500")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"t2m": field(TIME)})
    with pytest.raises(DataError, match=r"/proc/nowhere/.*no folder can be made there"):
        run(tmp_path / "a.nc", "/proc/nowhere/out", *SPLIT)
