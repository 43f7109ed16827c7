"""The climatology by day of year and hour, against WeatherBench 2's definition written out year by year."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.archives import WrittenArchive, write_archive
from weather.data.archive import Archive, open_archive
from weather.errors import ConfigError, DataError
from weather.verification import window_making
from weather.verification.climatology import fit_climatology
from weather.verification.window import plan_window
from weather.verification.window_file import WindowClimatology


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
        "season and hour of day (means by day of year at 00, 12 UTC, window of 61 days) of the 2192 training states"
    )
    time = archive.splits["train"].time
    assert time is not None
    states = written.states("train").astype(np.float64)
    wanted = np.array(WHEN, "datetime64[s]")
    expected = np.stack([by_definition(time, states, when) for when in wanted])
    # Sums over years and means are stored as float32.
    np.testing.assert_allclose(climatology.at(wanted, len(wanted)), expected, rtol=1e-6, atol=1e-6)


def test_it_is_found_again_and_made_anew_for_another_archive(tmp_path: Path) -> None:
    written = write_years(tmp_path, [hours_of(2003)])
    lines: list[str] = []

    def make(**settings: object) -> WindowClimatology:
        found = fit_climatology(opened(written, **settings), report=lines.append)
        assert isinstance(found, WindowClimatology)
        return found

    first = make()
    assert first.path.parent == tmp_path / "stats" and len(lines) == 1 and "made once" in lines[0]
    assert make().path == first.path and len(lines) == 1, "found"
    assert sorted(path.name for path in first.path.parent.iterdir() if "climatology" in path.name) == [first.path.name]
    assert make(channels=["b"]).path != first.path, "other channels"
    os.utime(written.path("train"), (1, 1))
    assert make().path != first.path and len(lines) == 3, "the archive was written again"


def test_an_interrupted_making_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the second part: what the first has read is not read again."""
    archive = opened(write_years(tmp_path, [hours_of(2003)]))
    write, blocks = window_making._Units.write, 0

    def full(units: window_making._Units, values: np.ndarray, place: int) -> None:
        nonlocal blocks
        blocks += values.ndim == 1
        if blocks > 400:  # in the second of two hours
            raise OSError("No space left on device")
        write(units, values, place)

    monkeypatch.setattr(window_making._Units, "write", full)
    with pytest.raises(DataError, match="cannot be made .No space left"):
        fit_climatology(archive)
    assert not list((tmp_path / "stats").glob("climatology*.h5"))
    monkeypatch.setattr(window_making._Units, "write", write)
    monkeypatch.setattr(window_making, "ABANDONED_SECONDS", -1.0)
    read: list[int] = []
    original = window_making.StateReader.read
    monkeypatch.setattr(
        window_making.StateReader, "read", lambda self, states, out: (read.append(1), original(self, states, out))
    )
    climatology = fit_climatology(archive)
    assert not read
    monkeypatch.undo()
    assert len(list((tmp_path / "stats").glob("climatology*"))) == 1
    when = np.array(WHEN, "datetime64[s]")
    again = np.array(climatology.at(when, len(when)))
    (tmp_path / "stats" / climatology.path.name).unlink()  # type: ignore[attr-defined]
    np.testing.assert_array_equal(again, fit_climatology(archive).at(when, len(when)))


def test_without_room_it_says_how_much_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = opened(write_years(tmp_path, [hours_of(2003)]))
    usage = window_making.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(window_making.shutil, "disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(DataError, match=r"takes 0\.0 GB, and 0\.0 GB are free.*--climatology harmonic"):
        fit_climatology(archive)


def test_an_archive_that_cannot_be_written_has_it_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = opened(write_years(tmp_path / "archive", [hours_of(2003)]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    climatology = fit_climatology(archive)
    assert isinstance(climatology, WindowClimatology)
    assert climatology.path.parent == tmp_path / "cache" / "weather"


# --- short and odd archives ---


def plan(times: np.ndarray, step_hours: float) -> str | None:
    found = plan_window((np.datetime64("1990-01-01", "s") + (times * 3600).astype("timedelta64[s]")), step_hours)
    return None if found is None else found.describe()


def test_what_is_planned_for_short_and_odd_archives() -> None:
    year = np.arange(0, 365 * 24, 6.0)
    assert plan(year, 6) == "season and hour of day (means by day of year at 00, 06, 12, 18 UTC, window of 61 days)"
    assert plan(year[: 200 * 4], 6) is None, "days that no window reaches"
    gap = plan(
        np.delete(year, slice(400, 640)), 6
    )  # 60 days are missing, 16 of them with fewer than 8 states at less than 30 days
    assert gap is not None and "of 121 days for 64 of 1464 means" in gap
    months = np.cumsum(np.tile([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], 11)) * 24.0 - 15 * 24 + 10.5
    assert plan(months, 730) == "season (means by day of year, window of 61 days)"
    assert "of 121 days" in str(plan(months[: 4 * 12], 730)), "four years of months"
    irregular = np.cumsum(np.tile([7.0, 8.0, 7.0, 8.0, 7.0], 400))  # never at the same hours
    assert plan(irregular, 7) == (
        "season and hour of day (means by day of year at nearly 00, 08, 16 UTC, window of 61 days)"
    )
    assert plan(24.0 * np.arange(365), 24) == "season (means by day of year, window of 61 days)"


def test_months_have_their_season(tmp_path: Path) -> None:
    """Eight years of monthly means, a wave of the year: the month's own states weigh most, its neighbours little."""
    months = np.arange("1991-01", "1999-01", dtype="datetime64[M]").astype("datetime64[D]") + 14
    hours = (months - np.datetime64("2000-01-01")).astype(float) * 24
    files = {"train": (96,), "test": (4,)}
    times = {"train": [hours], "test": [hours[:4] + 9 * 8766]}
    written = write_archive(tmp_path, files=files, times=times, channels=("a",), grid=(2, 3))
    archive = opened(written)
    usual = fit_climatology(archive).at(months[:12].astype("datetime64[s]"), 12)
    by_month = written.states("train").reshape(8, 12, 1, 2, 3).mean(axis=0)
    # The 15th of a month lies 28 to 31 days from the next: those weigh at most 1/15 each of the month's own.
    assert np.abs(usual - by_month).max() < 0.15 * np.abs(by_month).max()
    assert np.abs(usual[5] - by_month[5]).max() < 1e-6 or np.abs(usual - by_month).mean() < 0.05


def test_a_window_that_is_not_possible_is_refused(tmp_path: Path) -> None:
    archive = opened(write_years(tmp_path, [np.arange(0, 100 * 24, 12.0)]))
    with pytest.raises(ConfigError, match="--climatology window: 200 training states.*8 training states within 60"):
        fit_climatology(archive, "window")
    assert "season" not in fit_climatology(archive).describe(), "harmonic instead"
    year = opened(write_years(tmp_path / "year", [hours_of(2003)]))
    assert fit_climatology(year, "harmonic").describe() == "mean of the training states, by season"


def test_it_is_of_the_coarse_grid_where_the_archive_is_coarsened(tmp_path: Path) -> None:
    files, times = (
        {"train": (730,), "test": (4,)},
        {"train": [hours_of(2003)], "test": [24.0 * 9000 + 12 * np.arange(4)]},
    )
    written = write_archive(tmp_path, files=files, times=times, channels=("a",), grid=(4, 8))
    fine, coarse = fit_climatology(opened(written)), opened(written, coarsen=2)
    when = np.array(["2021-07-01T12"], "datetime64[s]")
    coarsening = coarse.splits["train"].coarsening
    assert coarsening is not None
    expected = np.empty((1, 2, 4), np.float32)
    coarsening.apply(fine.at(when, 1)[0], expected)
    np.testing.assert_allclose(fit_climatology(coarse).at(when, 1)[0], expected, rtol=1e-4, atol=1e-5)


def test_fields_come_in_the_order_of_valid_times(tmp_path: Path) -> None:
    climatology = fit_climatology(opened(write_years(tmp_path, [hours_of(2003)])))
    orders = [np.array(WHEN[:2], "datetime64[s]"), np.array(WHEN[2:5], "datetime64[s]")]
    fields = climatology.open(torch.device("cpu"), batch_size=3, threads=2)
    for times, batch in zip(orders, fields.batches((times, len(times)) for times in orders), strict=True):
        np.testing.assert_array_equal(batch.numpy(), climatology.at(times, len(times)))
    fields.close()
