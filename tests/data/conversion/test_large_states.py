"""A state of many levels is decoded and regridded a few channels at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.conversion.sources import SPLIT, field, run, states, times, write
from weather.data.conversion import block_fields
from weather.errors import DataError

netCDF4 = pytest.importorskip("netCDF4", reason="netCDF4 is not installed")
PACKED = {"t": {"dtype": "i2", "scale_factor": 0.05, "add_offset": 900.0, "_FillValue": -32768}}


@pytest.mark.parametrize("words", [(), ("--resolution", "5x8")])
def test_channels_at_a_time_make_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str]) -> None:
    values = field(times(), levels=[300, 500, 700, 850, 925])
    source = write(tmp_path / "a.nc", {"t": values}, PACKED)
    run(source, tmp_path / "whole", *SPLIT, *words)
    monkeypatch.setattr(block_fields, "TILE", 2 * 4 * 7 * 12)  # two channels
    run(source, tmp_path / "pieces", *SPLIT, *words)
    np.testing.assert_array_equal(states(tmp_path / "pieces")[0], states(tmp_path / "whole")[0])
    values[3, 3, 0, 0] = np.nan
    with pytest.raises(DataError, match="2001-01-01T18:00:00, level 850: 1 of 84 values are missing"):
        run(write(tmp_path / "b.nc", {"t": values}, PACKED), tmp_path / "out", *SPLIT, *words)


def test_a_state_of_era5_fits_into_the_memory_that_is_usual(tmp_path: Path) -> None:
    """37 levels at a quarter of a degree: 154 MB a state. The file has holes, and so takes no room."""
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.set_fill_off()
        for name, values, units in (
            ("time", [0.0], "hours since 2001-01-01"),
            ("level", np.arange(1, 38) * 25.0, "hPa"),
            ("latitude", np.linspace(90, -90, 721), "degrees_north"),
            ("longitude", np.arange(0, 360, 0.25), "degrees_east"),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,)).units = units
            file[name][:] = values
        file.createVariable("t", "f4", ("time", "level", "latitude", "longitude"))
        file["t"][0, 36, 720, 1439] = 1.0
    assert "1 states of 153.66 MB" in run(tmp_path / "a.nc", tmp_path / "out", "--split", "1,0,0", "--dry-run").text
