"""A log has a line now and then with the time that is left; a terminal has a bar, which leaves nothing behind."""

from __future__ import annotations

import pytest

from weather.runtime import progress as module
from weather.runtime.progress import counting_bar, duration, progress_bar

LINES = ((30, "01:10"), (60, "00:40"), (90, "00:10"))  # of a hundred states at one a second


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; a test sets it."""
    time = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: time[0])
    return time


def test_a_line_now_and_then_tells_the_time_left(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with counting_bar("reading", 100, unit="states") as advance:
        for _ in range(100):
            now[0] += 1.0
            advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"reading: {done} of 100 states, about 0:{left} left" for done, left in LINES]


def test_what_an_earlier_run_had_done_does_not_count_as_speed(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress_bar("converting", unit="bytes") as show:
        show(6e9, 8e9)
        now[0] += 40.0
        show(7e9, 8e9)
    assert capsys.readouterr().err == "converting: 7.00 of 8.00 GB, about 0:00:40 left\n"


def test_only_one_rank_speaks(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with counting_bar("verifying", 2, shows=False) as advance:
        now[0] += 100.0
        advance(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("unit", ["states", "bytes"])
def test_a_terminal_has_a_bar(unit: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module.sys.stderr, "isatty", lambda: True)
    with counting_bar("reading", 3, unit=unit) as advance:
        advance(2)
    assert "reading" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (360_000, "100:00:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
