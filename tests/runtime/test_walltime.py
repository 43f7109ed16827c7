"""When the job must be gone: as people and SLURM spell it, and whichever end comes first."""

from __future__ import annotations

import time

import pytest

from weather.errors import ConfigError, LaunchError
from weather.runtime.walltime import END_TIME_VARIABLE, find_deadline, parse_walltime


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1.5", 5400.0),
        (".5", 1800.0),
        ("2", 7200.0),
        ("2.", 7200.0),
        ("1:30:00", 5400.0),
        ("0:00:01.5", 1.5),
        ("100:00:00", 360_000.0),
        ("2-03:00:00", 183_600.0),
        ("1-12", 129_600.0),
        ("0-1", 3600.0),
        ("0-1.5", 5400.0),
        ("1-00", 86_400.0),
        ("1-12:30", 131_400.0),
        ("0-0:10", 600.0),
        ("0-00:00:10", 10.0),
        (" 1:30:00\n", 5400.0),
    ],
)
def test_a_walltime_is_read_as_people_and_slurm_write_it(text: str, seconds: float) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0:00",
        "0-00:00:00",
        "0-0",
        "0-00:00",
        "-1",
        "-1:30:00",
        "soon",
        "",
        " ",
        "1:2:3:4",
        "1h",
        "nan",
        "inf",
        "1-",
        "-12",
        "x-12",
        "1.5-12",
        "1-2-12",
        "1-2:3:4:5",
        "--1",
        ":30",
        "1.5:00",
        "2:00",
        "90:00",
    ],
)
def test_what_is_no_walltime_is_refused_with_the_spellings(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_walltime(text)
    message = str(refusal.value)
    assert f"--walltime {text!r}" in message
    assert "H:MM:SS" in message and "D-HH:MM:SS" in message and "above 0" in message


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is 1,000,000 s since 1970, and 5,000 s since this machine was started."""
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 5_000.0)


def test_nobody_says_when_the_job_ends(clocks: None) -> None:
    assert find_deadline(environment={}) is None
    assert find_deadline(environment={END_TIME_VARIABLE: ""}) is None


def test_a_walltime_counts_from_the_start_of_the_process(clocks: None) -> None:
    assert find_deadline("1:00:00", began=4_990.0, environment={}) == 8_590.0


def test_the_end_of_a_slurm_job_is_told_in_seconds_since_1970(clocks: None) -> None:
    assert find_deadline(environment={END_TIME_VARIABLE: "1003600"}) == 8_600.0


def test_the_environment_of_the_process_is_asked(clocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(END_TIME_VARIABLE, "1000010")
    assert find_deadline() == 5_010.0


@pytest.mark.parametrize(("end", "deadline"), [("1003599", 8_599.0), ("1003601", 8_600.0)])
def test_the_earlier_of_two_ends_counts(clocks: None, end: str, deadline: float) -> None:
    assert find_deadline("1", began=5_000.0, environment={END_TIME_VARIABLE: end}) == deadline


@pytest.mark.parametrize("end", ["999999", "1000000", "0", "-5"])
def test_an_end_in_the_past_is_that_of_another_job(clocks: None, end: str) -> None:
    assert find_deadline(environment={END_TIME_VARIABLE: end}) is None
    assert find_deadline("1", began=5_000.0, environment={END_TIME_VARIABLE: end}) == 8_600.0


def test_an_end_that_is_a_second_away_counts(clocks: None) -> None:
    assert find_deadline(environment={END_TIME_VARIABLE: "1000001"}) == 5_001.0


@pytest.mark.parametrize("end", ["soon", "2026-01-01T00:00:00", "12:30"])
def test_an_end_that_is_no_number_is_named(end: str) -> None:
    with pytest.raises(LaunchError, match=rf"{END_TIME_VARIABLE} is '{end}'.*seconds since 1970"):
        find_deadline(environment={END_TIME_VARIABLE: end})
    with pytest.raises(LaunchError, match=END_TIME_VARIABLE):
        find_deadline("1", environment={END_TIME_VARIABLE: end})


def test_a_walltime_that_cannot_be_read_is_refused_beside_an_end_that_can(clocks: None) -> None:
    with pytest.raises(ConfigError, match="--walltime 'soon'"):
        find_deadline("soon", environment={END_TIME_VARIABLE: "1003600"})
