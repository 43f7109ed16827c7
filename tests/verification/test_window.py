"""The climatology by day of year and hour, against WeatherBench 2's definition written out year by year."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.archives import WrittenArchive, write_archive
from weather.data.archive import Archive, open_archive
from weather.verification.climatology import fit_climatology
from weather.verification.window_file import WindowClimatology

START = np.datetime64("2000-01-01T00", "s")


def hours_of(year: int, step: float = 12.0) -> np.ndarray:
    """Hours since 2000 of the states of a year."""
    days = [(np.datetime64(f"{y}-01-01") - np.datetime64("2000-01-01")).astype(int) for y in (year, year + 1)]
    return np.arange(24.0 * days[0], 24.0 * days[1], step)


def write_years(folder: Path, years: Sequence[np.ndarray], **more: object) -> WrittenArchive:
    """An archive with a training file for each of some arrays of hours, and four test states."""
    files = {"train": tuple(map(len, years)), "test": (4,)}
    times = {"train": years, "test": [24.0 * 9000 + np.median(np.diff(years[0])) * np.arange(4)]}
    return write_archive(folder, files=files, times=times, channels=("a", "b"), grid=(2, 3), **more)  # type: ignore[arg-type]


def opened(written: WrittenArchive, **settings: object) -> Archive:
    return open_archive(written.section(**settings), ("train", "test"))


def by_definition(time: np.ndarray, fields: np.ndarray, when: np.datetime64) -> np.ndarray:
    """WeatherBench 2: [year, day] table of the hour, day 366 filled from day 365, weights 1 - |d| / 30 on a circle."""
    hour = when.astype("datetime64[h]").astype(int) % 24
    mine = time.astype("datetime64[h]").astype(int) % 24 == hour
    years = time[mine].astype("datetime64[Y]")
    table = np.full((len(np.unique(years)), 366, *fields.shape[1:]), np.nan)
    for row, year in enumerate(np.unique(years)):
        days = (time[mine][years == year].astype("datetime64[D]") - year.astype("datetime64[D]")).astype(int)
        table[row, days] = fields[mine][years == year]
        if np.isnan(table[row, 365]).all():
            table[row, 365] = table[row, 364]
    centre = (when.astype("datetime64[D]") - when.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)
    total, weight_sum = np.zeros(fields.shape[1:]), 0.0
    for offset in range(-30, 31):
        values = table[:, (centre + offset) % 366]
        there = ~np.isnan(values[:, 0, 0, 0])
        weight = 1 - abs(offset) / 30
        total += weight * values[there].sum(axis=0)
        weight_sum += weight * there.sum()
    return total / weight_sum


WHEN = ["2021-01-01T00", "2021-06-15T12", "2024-02-29T12", "2021-12-31T00", "2024-12-31T12", "2021-03-01T00"]


def test_it_is_weatherbenchs(tmp_path: Path) -> None:
    """A leap year and two others, every 12 hours; at the ends of the year, on a leap day, and on day 366."""
    written = write_years(tmp_path, [hours_of(year) for year in (2003, 2004, 2005)])
    archive = opened(written)
    climatology = fit_climatology(archive)
    assert isinstance(climatology, WindowClimatology)
    assert climatology.describe() == (
        "mean by day of year and hour of day (00, 12 UTC), window of 61 days, of 2192 training states"
    )
    time = archive.splits["train"].time
    assert time is not None
    states = written.states("train").astype(np.float64)
    wanted = np.array(WHEN, "datetime64[s]")
    expected = np.stack([by_definition(time, states, when) for when in wanted])
    # Sums over years and means are stored as float32.
    np.testing.assert_allclose(climatology.at(wanted, len(wanted)), expected, rtol=1e-6, atol=1e-6)
