"""Times by arithmetic are those that the library of calendars gives."""

from __future__ import annotations

import numpy as np
import pytest

from weather.data.conversion.counted_times import counted_times


@pytest.mark.parametrize(
    "units",
    [
        "hours since 1900-01-01",
        "days since 2000-1-31 12:30:00.0",
        "seconds since 1970-01-01",
        "minutes since 1858-11-17T00:00",
    ],
)
@pytest.mark.parametrize("dtype", ["i4", "i8", "f4", "f8", ">i4"])
def test_as_cftime_says(units: str, dtype: str) -> None:
    cftime = pytest.importorskip("cftime", reason="cftime is not installed")
    values = np.array([[0, 1, 24], [-700, 60000, 40000]]).astype(dtype)
    found = counted_times(values, units, "standard")
    dates = [date.isoformat() for date in cftime.num2date(values, units, "standard").reshape(-1)]
    assert found is not None and found.dtype == "datetime64[s]"
    np.testing.assert_array_equal(found.reshape(-1), np.array(dates, "datetime64[s]"))


@pytest.mark.parametrize(("value", "units", "calendar"), [
    (0.5, "hours since 1900-01-01", "standard"),
    (np.nan, "hours since 1900-01-01", "standard"),
    (1e30, "hours since 1900-01-01", "standard"),
    (0, "hours since 1900-01-01", "noleap"),
    (0, "months since 1900-01-01", "standard"),
    (0, "hours since 1900-01-01 00:00 -06:00", "standard"),
    (0, "hours since 1900-02-30", "standard"),
    (24, "hours since 0001-01-01", "standard"),
    (-10**7, "hours since 1900-01-01", "standard"),
])  # fmt: skip
def test_what_takes_more_is_left_to_it(value: float, units: str, calendar: str) -> None:
    assert counted_times(np.array([value]), units, calendar) is None
