"""Times in every form that files have them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from weather.data.conversion.time_stamps import stamps_of
from weather.errors import DataError

xarray = pytest.importorskip("xarray", reason="xarray is not installed")
pytest.importorskip("cftime", reason="cftime is not installed")

WANTED = np.array(["2001-01-01T00:00:00", "2001-01-01T18:00:00"], "datetime64[s]")


def stamps(values: Any, **attributes: str) -> np.ndarray:
    found = stamps_of(xarray.Dataset(coords={"time": ("time", values, attributes)}), ("time",), "a.nc")
    assert found is not None and found[1] == ("time",)
    return found[0]


@pytest.mark.parametrize(
    ("values", "units"),
    [
        ([0, 18], "hours since 2001-01-01 00:00:00 UTC"),
        ([0, 18], "hours since 2001-01-01T00:00:00Z"),
        ([0, 18], "hours since 2000-12-31 18:00:00 -6:00"),  # the form of the CF conventions' own example
        ([0, 18], "hours since 2000-12-31 18:00:00.0-06:00"),
        ([0, 18], "hours since 2001-01-01 05:30 +0530"),
        ([0, 18], "hours since 2001-1-1"),
        ([6, 24], "hours since 2001-1-1 +6"),
        ([0, 64_800 * 10**9 + 17], "nanoseconds since 2001-01-01"),
        ([20010101.0, 20010101.75], "day as %Y%m%d.%f"),
        (["2001-01-01", "2001-01-01T18:00Z"], ""),
    ],
)
def test_zones_clocks_and_dates_written_out(values: list[Any], units: str) -> None:
    found = stamps(
        np.array(values, object) if isinstance(values[0], str) else values, **({"units": units} if units else {})
    )
    np.testing.assert_array_equal(found, WANTED)


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(DataError, match="of the time zone EST; universal time, or an offset"):
        stamps([0, 18], units="hours since 2001-01-01 00:00:00 EST")
    with pytest.raises(DataError, match="the time is text such as '01.02.2001'"):
        stamps(np.array(["01.02.2001", "2001-01-01"], object))
    with pytest.raises(DataError, match="the time has missing entries"):
        stamps(np.array([0, -32767], "i4"), units="hours since 2001-01-01", _FillValue=np.int32(-32767))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"the time is no date .*2001-02-31.*reads like 20010131.75"):
        stamps([20010231.0], units="day as %Y%m%d.%f")
    np.testing.assert_array_equal(stamps([0, 18], units="hours since 2001-01-01", _FillValue=0), WANTED)  # type: ignore[arg-type]


def test_lead_times_are_unpacked_and_none_is_missing() -> None:
    packed = {"units": "hours", "scale_factor": 6.0, "_FillValue": np.int16(-1)}
    dataset = xarray.Dataset(coords={
        "time": ("time", [0, 24], {"units": "hours since 2001-01-01", "standard_name": "forecast_reference_time"}),
        "step": ("step", np.array([0, 3], "i2"), packed),
    })  # fmt: skip
    found = stamps_of(dataset, ("time", "step"), "a.nc")
    assert found is not None and found[1] == ("time", "step")
    np.testing.assert_array_equal(found[0][0], WANTED)
    lacking = dataset.assign_coords(step=("step", np.array([0, -1], "i2"), packed))
    with pytest.raises(DataError, match="the lead time has missing entries"):
        stamps_of(lacking, ("time", "step"), "a.nc")
