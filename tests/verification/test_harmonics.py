"""The climatology recovers what is usual, from training states only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.archives import write_archive
from weather.data.archive import Archive, open_archive
from weather.data.year_file import create_year_file
from weather.verification.harmonics import DAYS_PER_YEAR, fit_harmonics


def write_cycles(folder: Path, *, days: int, step_hours: float = 6.0, noise: float = 0.0) -> Archive:
    """Training states that are a mean, a wave of the year and one of the day; the other splits are something else."""
    written = write_archive(folder, files={"train": (2,), "valid": (4,), "test": (4,)}, channels=("t2m",), grid=(3, 4))
    hours = np.arange(0, 24 * days, step_hours)
    generator = np.random.default_rng(0)
    with create_year_file(
        written.path("train"),
        states=len(hours),
        channels=("t2m",),
        latitude=np.array([60.0, 0.0, -60.0]),
        longitude=np.arange(4) * 90.0,
        time_hours=hours,
    ) as fields:
        fields[:] = true_cycle(hours)[:, None, None, None] + noise * generator.standard_normal((len(hours), 1, 3, 4))
    return open_archive(written.section(), ("train",))


def true_cycle(hours: np.ndarray) -> np.ndarray:
    days = hours / 24 + 10957  # from 1970 to 2000
    year, day = 2 * np.pi * days / DAYS_PER_YEAR, 2 * np.pi * days
    return 280 + 10 * np.cos(year - 0.3) + 3 * np.sin(2 * year) + 4 * np.cos(day - 1)


def test_year_and_day_are_recovered(tmp_path: Path) -> None:
    climatology = fit_harmonics(write_cycles(tmp_path, days=2 * 365, noise=1.0))
    assert climatology.annual and climatology.diurnal
    hours = np.array([24 * 800.0, 24 * 900.0 + 6, 24 * 1000.0 + 18])
    usual = climatology.at(np.datetime64("2000-01-01", "s") + hours.astype("timedelta64[h]"), 3)
    # 2,920 states with noise 1 leave coefficients uncertain by 1 / sqrt(1460) = 0.03; seven of them add up.
    np.testing.assert_allclose(usual, np.broadcast_to(true_cycle(hours)[:, None, None, None], (3, 1, 3, 4)), atol=0.3)


def test_less_than_a_year_gives_no_season(tmp_path: Path) -> None:
    """A wave of the year fitted to a hundred days would run away outside of them."""
    climatology = fit_harmonics(write_cycles(tmp_path, days=100))
    assert not climatology.annual and climatology.diurnal


def test_daily_states_give_no_hour_of_day(tmp_path: Path) -> None:
    climatology = fit_harmonics(write_cycles(tmp_path, days=400, step_hours=24.0))
    assert climatology.annual and not climatology.diurnal


def test_without_time_stamps_it_is_the_mean_of_the_training_states(tmp_path: Path) -> None:
    files = {"train": (5, 3), "test": (4,)}
    times = {"train": [None, None], "test": [None]}
    written = write_archive(tmp_path, files=files, times=times, channels=("a", "b"))
    climatology = fit_harmonics(open_archive(written.section(channels=["b"]), ("train", "test")))
    expected = written.states("train")[:, 1:].mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(climatology.at(None, 2), np.stack([expected] * 2), rtol=1e-6)
    assert climatology.describe() == "mean of the training states"


def test_the_evaluated_split_is_not_read(tmp_path: Path) -> None:
    written = write_archive(tmp_path)
    archive = open_archive(written.section())
    before = fit_harmonics(archive).coefficients
    written.path("test").unlink()
    np.testing.assert_array_equal(fit_harmonics(archive).coefficients, before)


@pytest.mark.parametrize("hour", [0, 12])
def test_states_of_one_hour_only_do_not_break_it(tmp_path: Path, hour: int) -> None:
    """The daily wave is then not determined; at that hour the mean is still right."""
    hours = hour + 24.0 * np.arange(8)
    files = {"train": (8,), "test": (4,)}
    written = write_archive(tmp_path, files=files, channels=("a",), times={"train": [hours], "test": [hours[:4]]})
    climatology = fit_harmonics(open_archive(written.section(), ("train",)))
    time = np.datetime64("2000-01-01", "s") + hours[:1].astype("timedelta64[h]")
    np.testing.assert_allclose(climatology.at(time, 1)[0], written.states("train").mean(axis=0), rtol=1e-5)
