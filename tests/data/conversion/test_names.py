"""One meaning for each channel name, from the source to the forecast that a model makes of it."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest

from tests.data.conversion.sources import SPLIT, field, run, times, write
from weather.forecasting.variables import ChannelName, read_channel


@pytest.mark.parametrize(
    ("channel", "meaning"),
    [
        ("u10", ChannelName("u10", None)),  # at 10 m, as ERA5 has it
        ("u10hPa", ChannelName("u", 10.0)),
        ("u100", ChannelName("u", 100.0)),
        ("u100m", ChannelName("u100m", None)),
        ("v1000", ChannelName("v", 1000.0)),
    ],
)
def test_winds_near_the_ground_and_far_above(channel: str, meaning: ChannelName) -> None:
    assert read_channel(channel) == meaning


def test_winds_of_era5(tmp_path: Path) -> None:
    """ERA5 calls the wind at 100 m u100; on levels, 10 hPa would be called as the wind at 10 m."""
    wind = field(times(), units="m s**-1")
    near = wind.assign_attrs(long_name="100 metre U wind component")
    levels = field(times(), levels=[10, 100], units="m s**-1")
    write(tmp_path / "a.nc", {"u100": near, "u10": wind, "u": levels})
    run(tmp_path / "a.nc", tmp_path / "out", *SPLIT)
    with h5py.File(tmp_path / "out" / "train" / "2001.h5") as file:
        assert sorted(name.decode() for name in file["channel"][()]) == ["u10", "u100", "u100m", "u10hPa"]


def test_a_field_at_100_hpa_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path / "a.nc", {"u100": field(times()).assign_attrs(long_name="wind at 100 hPa")})
    run(tmp_path / "a.nc", tmp_path / "out", *SPLIT)
    with h5py.File(tmp_path / "out" / "train" / "2001.h5") as file:
        assert list(file["channel"][()]) == [b"u100"]
