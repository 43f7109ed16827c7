"""Where the sun stands: angles of the day and the year, and insolation at the top of the atmosphere."""

from __future__ import annotations

import numpy as np


def day_angle(time: np.ndarray) -> np.ndarray:
    """2 pi times the share of the day that is over at Greenwich, float64, for times datetime64[s]."""
    return 2 * np.pi * ((time - time.astype("datetime64[D]")).astype(np.int64) / 86400)


def year_angle(time: np.ndarray) -> np.ndarray:
    """2 pi times the share of the calendar year that is over, float64: of 366 days in a leap year."""
    year = time.astype("datetime64[Y]")
    begin, end = (each.astype("datetime64[s]").astype(np.int64) for each in (year, year + 1))
    return 2 * np.pi * ((time.astype("datetime64[s]").astype(np.int64) - begin) / (end - begin))


def declination(angle: np.ndarray) -> np.ndarray:
    """Of the sun, in radians, from the angle of the year; good to 0.6 degrees (Spencer 1971, "Fourier series
    representation of the position of the sun", Search 2, 172; in Iqbal 1983, eq. 1.3.1)."""
    return np.asarray(
        0.006918 - 0.399912 * np.cos(angle) + 0.070257 * np.sin(angle) - 0.006758 * np.cos(2 * angle)
        + 0.000907 * np.sin(2 * angle) - 0.002697 * np.cos(3 * angle) + 0.00148 * np.sin(3 * angle)
    )  # fmt: skip


def equation_of_time(angle: np.ndarray) -> np.ndarray:
    """Apparent less mean solar time as an angle of the day, in radians (Spencer 1971; in Iqbal 1983, eq. 1.4.1)."""
    return np.asarray(
        0.000075 + 0.001868 * np.cos(angle) - 0.032077 * np.sin(angle)
        - 0.014615 * np.cos(2 * angle) - 0.040849 * np.sin(2 * angle)
    )  # fmt: skip


def distance_factor(angle: np.ndarray) -> np.ndarray:
    """Square of mean over actual distance to the sun (Spencer 1971; in Iqbal 1983, eq. 1.2.1)."""
    return np.asarray(
        1.00011 + 0.034221 * np.cos(angle) + 0.00128 * np.sin(angle)
        + 0.000719 * np.cos(2 * angle) + 0.000077 * np.sin(2 * angle)
    )  # fmt: skip
