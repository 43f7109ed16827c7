"""Times that are counted from a date of the real calendar, without an object for each: some sources have a million."""

from __future__ import annotations

import re

import numpy as np

UNITS = re.compile(r"(second|minute|hour|day)s? since (\d{4})-(\d\d?)-(\d\d?)([T ](\d\d?):(\d\d)(:(\d\d)(\.0+)?)?)?")
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
GREGORIAN = np.datetime64("1582-10-15", "s")  # from here on these calendars are one
LARGEST = 2.0**40  # seconds: no date in use is further away, and no product of integers overflows


def counted_times(values: np.ndarray, units: str, calendar: str) -> np.ndarray | None:
    """Whole numbers with CF units as datetime64[s]; None where that takes a library of calendars."""
    said = UNITS.fullmatch(units)
    if said is None or calendar not in CALENDARS or values.dtype.kind not in "iuf" or not values.size:
        return None
    year, month, day, hour, minute, second = (int(said[group] or 0) for group in (2, 3, 4, 6, 7, 9))
    step = SECONDS[said[1]]
    if not np.isfinite(values).all() or np.abs(values.astype(np.float64)).max() * step > LARGEST:
        return None
    whole = values.astype(np.int64)
    if (whole != values).any():
        return None
    try:
        origin = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}", "s")
    except ValueError:
        return None
    times = origin + (whole * step).astype("timedelta64[s]")
    return times if min(origin, times.min()) >= GREGORIAN else None
