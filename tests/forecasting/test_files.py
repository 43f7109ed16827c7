"""What stands in a forecast file, read with xarray, and that the numbers are the model's."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.forecasting.conftest import Trained
from weather.data.archive import open_archive
from weather.data.loader import Normalizer
from weather.forecasting.models import load_models
from weather.runtime.ranks import Ranks
from weather.training.trained_model import TrainedModel

xarray = pytest.importorskip("xarray")
NAMES = {
    "t2m": "2m_temperature",
    "z500": "geopotential",
    "z850": "geopotential",
    "t850": "temperature",
    "phi_s4": "phi_s4",
}
INITS = "2020-01-01T12,2020-01-02T00/2020-01-02T12/6h"


def opened(name: str) -> Any:
    """As users open it; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "numpy.ndarray size changed")  # of a package built for another NumPy
        warnings.filterwarnings("ignore", ".*decode_timedelta")  # before 2025.6 xarray cannot be told in the file
        return xarray.open_zarr(name, chunks=None) if name.endswith(".zarr") else xarray.open_dataset(name)


def tiny_model() -> TrainedModel:
    settings = {"data_dir": None, "device": "cpu", "precision": None, "step": None}
    (model,) = load_models([Path("runs/tiny")], ["best"], ranks=Ranks(), **settings)  # type: ignore[arg-type]
    return model


def by_hand(trained: Trained, first: int, steps: int) -> np.ndarray:
    """States [step, channel, lat, lon] that the model makes in a row after state `first` of the test split."""
    model = tiny_model()
    normalizer = Normalizer(model.archive.statistics, torch.device("cpu"))
    window = normalizer.normalize(torch.from_numpy(trained.archive.states("test")[first - 1 : first + 1]))[None]
    made = []
    for _ in range(steps):
        state = model.forecaster(window, None)
        window = torch.stack([window[:, 1], state], dim=1)
        made.append(normalizer.restore(state)[0].numpy())
    return np.stack(made)


@pytest.mark.parametrize("out", ["forecast.nc", "forecast.zarr", "three.zarr"])
def test_the_file_holds_what_the_model_makes(command: Callable[..., bool], in_folder: Trained, out: str) -> None:
    if out.endswith(".zarr"):
        pytest.importorskip("zarr", "3", reason="writing Zarr needs zarr 3, which is for Python 3.11 on")
    version = ("--zarr_format", "3") if out == "three.zarr" else ()
    assert command("--leads", "18h", "--batch_size", "3", *version, out=out, init=INITS)
    data = opened(out)
    assert data["geopotential"].dims == ("time", "prediction_timedelta", "level", "latitude", "longitude")
    assert data["2m_temperature"].dims == ("time", "prediction_timedelta", "latitude", "longitude")
    assert data.sizes == {"time": 4, "prediction_timedelta": 3, "level": 2, "latitude": 8, "longitude": 16}
    assert (data.prediction_timedelta.values == np.array([6, 12, 18]).astype("timedelta64[h]")).all()
    assert data.time.values[0] == np.datetime64("2020-01-01T12") and data.time.dtype.kind == "M"
    np.testing.assert_array_equal(
        data.valid_time.values, data.time.values[:, None] + data.prediction_timedelta.values[None]
    )
    for row, first in enumerate((2, 4, 5, 6)):
        expected = by_hand(in_folder, first, 3)
        for index, (channel, name) in enumerate(NAMES.items()):
            found = data[name].isel(time=row)
            if channel[-3:].isdigit():
                found = found.sel(level=int(channel[-3:]))
            # Batches of another size add up matrix products in another order.
            np.testing.assert_allclose(found.values, expected[:, index], rtol=1e-4, atol=1e-4)
    assert np.isnan(data["temperature"].sel(level=500)).all()  # only t850 is forecast
    assert not list(Path().glob("*.partial"))


def test_attributes_are_those_of_the_conventions(command: Callable[..., bool]) -> None:
    command("--leads", "6h,18h")
    raw = xarray.open_dataset("forecast.nc", decode_cf=False)
    assert raw.attrs["Conventions"].startswith("CF-1.")
    assert "run tiny" in raw.attrs["source"] and "step 3" in raw.attrs["source"] and raw.attrs["title"]
    assert "weather.forecast" in raw.attrs["history"]
    standard = {name: raw[name].attrs.get("standard_name") for name in raw.variables}
    assert standard == {
        "time": "forecast_reference_time",
        "prediction_timedelta": "forecast_period",
        "valid_time": "time",
        "latitude": "latitude",
        "longitude": "longitude",
        "level": "air_pressure",
        "2m_temperature": "air_temperature",
        "geopotential": "geopotential",
        "temperature": "air_temperature",
        "phi_s4": None,
    }
    axes = {name: raw[name].attrs["axis"] for name in raw.variables if "axis" in raw[name].attrs}
    assert axes == {"time": "T", "level": "Z", "latitude": "Y", "longitude": "X"}
    assert raw["level"].attrs["positive"] == "down" and raw["level"].attrs["units"] == "hPa"
    assert raw["time"].attrs["units"] == "hours since 1970-01-01 00:00:00" and raw["time"].attrs["calendar"]
    assert raw["prediction_timedelta"].values.tolist() == [6, 18] and raw["prediction_timedelta"].units == "hours"
    assert {raw[name].attrs["units"] for name in ("latitude", "longitude")} == {"degrees_north", "degrees_east"}
    for name in raw.data_vars:
        if name != "valid_time":
            assert raw[name].attrs["coordinates"] == "valid_time" and raw[name].attrs["long_name"]


def test_a_lead_is_on_disk_before_the_next_is_made(
    command: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the number of leads or of initial times."""
    from weather.forecasting.netcdf_store import NetcdfStore
    from weather.training.restore import Forecaster

    order: list[str] = []
    write, call = NetcdfStore.write, Forecaster.__call__
    monkeypatch.setattr(NetcdfStore, "write", lambda *words: (order.append("write"), write(*words))[1])
    monkeypatch.setattr(Forecaster, "__call__", lambda *words: (order.append("forecast"), call(*words))[1])
    command("--leads", "1d", "--batch_size", "1", init="2020-01-01T12,2020-01-02T12")
    assert order == ["forecast", "write"] * 8


@pytest.mark.parametrize("out", ["forecast.nc", "forecast.zarr"])
def test_a_forecast_that_blows_up_is_written_and_reported_each_time(
    command: Callable[..., bool], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    from weather.training.restore import Forecaster

    monkeypatch.setattr(Forecaster, "__call__", lambda self, states, time: states[:, -1].abs() * 1e25 + 1e25)
    if out.endswith(".zarr"):
        pytest.importorskip("zarr", "3")
    for _ in range(2):  # the second time the file is complete already
        assert not command("--leads", "1d", out=out)
        assert "1 forecast(s) blew up" in (said := capsys.readouterr().err)
        assert "from 2020-01-01T12:00:00: not finite from lead 12 h on" in said
    data = xarray.open_dataset(out)
    assert json.loads(data.attrs["blown_up"])["forecasts"] == 1
    finite = np.isfinite(data["2m_temperature"].values).all(axis=(0, 2, 3))
    assert finite.tolist() == [True, False, False, False]


def test_an_initial_state_that_is_not_finite_is_refused(in_folder: Trained) -> None:
    from weather.errors import DataError
    from weather.forecasting.initial_times import InitialState
    from weather.forecasting.production import read_states

    split = open_archive(in_folder.archive.section(), ("test",))
    model = tiny_model()
    state = InitialState(split.splits["test"], 3)
    fields, times = read_states(split, [state], model.step.sequence_length)
    np.testing.assert_array_equal(fields[0], in_folder.archive.states("test")[2:4])
    assert times[0, -1] == np.datetime64("2020-01-01T18")
    path = in_folder.archive.path("test")
    import h5py

    with h5py.File(path, "r+") as file:
        kept = file["fields"][3, 1, 0, 0]
        file["fields"][3, 1, 0, 0] = np.nan
    try:
        with pytest.raises(DataError, match="part_0.h5.*time index 3.*'z500' holds values that are not finite"):
            read_states(split, [state], 2)
    finally:
        with h5py.File(path, "r+") as file:
            file["fields"][3, 1, 0, 0] = kept
