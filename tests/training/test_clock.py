"""The clock stops a run inside its time budget, and a job while there is still time to save."""

from __future__ import annotations

import time
from typing import Any

import pytest

from weather.config.schema import TrainingSection
from weather.training.clock import Clock
from weather.training.monitor import Requests, Stopwatch


class Time:
    """Moves only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def make(left: float | None = None, *, before: float = 0.0, **settings: Any) -> Clock:
    """A clock whose job ends in `left` seconds, of a run that has taken `before` seconds."""
    deadline = None if left is None else time.monotonic() + left
    return Clock(TrainingSection(**settings), Stopwatch(before), deadline)


def asked(clock: Clock, *, evaluation: bool = False, save: bool = False) -> Requests:
    return clock.requests(evaluation_near=evaluation, save_near=save)


def test_without_a_limit_the_clock_wishes_nothing(clock_time: Time) -> None:
    clock = make()
    clock_time.now += 1e9
    assert asked(clock, evaluation=True, save=True) == Requests()


# --- time budget ---


def test_a_time_budget_ends_with_its_last_second(clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0)
    clock_time.now += 3600
    assert asked(clock) == Requests()
    clock_time.now += 1
    assert asked(clock) == Requests(time_over=True)


def test_a_time_budget_counts_earlier_starts(clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0, before=3000.0)
    clock_time.now += 600
    assert not asked(clock).time_over
    clock_time.now += 1
    assert asked(clock).time_over


def test_a_time_budget_keeps_back_two_steps_an_evaluation_and_a_save(clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0)
    assert clock.reserve() == 0.0
    clock.watch.seconds_per_step = 7.0
    clock.durations.evaluation = 100.0
    clock.saved(30.0)
    assert clock.reserve() == 2 * 7 + 100 + 30
    clock_time.now += 3600 - 144
    assert not asked(clock).time_over
    clock_time.now += 1
    assert asked(clock).time_over
    assert asked(clock, evaluation=True, save=True).time_over


# --- walltime ---


@pytest.mark.parametrize(
    ("left", "margin"), [(36_000.0, 120.0), (600.0, 120.0), (400.0, 80.0), (0.0, 0.0), (-5.0, 0.0)]
)
def test_before_a_save_was_measured_a_minute_is_assumed_but_no_more_than_a_tenth(
    clock_time: Time, left: float, margin: float
) -> None:
    assert make(left).margin() == pytest.approx(margin), "twice 60 s, or twice a tenth of what was left at the start"


def test_the_margin_is_twice_the_last_save_and_three_steps(clock_time: Time) -> None:
    clock = make(36_000.0)
    clock.saved(40.0)
    assert clock.margin() == 80.0
    clock.saved(5.0)
    clock.watch.seconds_per_step = 2.0
    assert clock.margin() == 16.0


def test_the_assumed_save_does_not_shrink_with_the_time_that_is_left(clock_time: Time) -> None:
    clock = make(400.0)
    clock_time.now += 300
    assert clock.margin() == pytest.approx(80.0)


def test_the_job_ends_with_its_margin_left(clock_time: Time) -> None:
    clock = make(3600.0)
    clock.saved(30.0)
    clock.watch.seconds_per_step = 4.0
    clock_time.now += 3600 - 72
    assert not asked(clock).walltime
    clock_time.now += 1
    assert asked(clock) == Requests(walltime=True)


def test_before_a_save_was_measured_the_job_ends_earlier(clock_time: Time) -> None:
    clock = make(3600.0)
    clock_time.now += 3600 - 120
    assert not asked(clock).walltime
    clock_time.now += 1
    assert asked(clock).walltime


@pytest.mark.parametrize(
    ("evaluation", "save", "more"),
    [(False, False, 0.0), (True, False, 200.0), (False, True, 30.0), (True, True, 230.0)],
)
def test_an_evaluation_or_a_save_that_is_near_needs_its_own_time(
    clock_time: Time, evaluation: bool, save: bool, more: float
) -> None:
    clock = make(3600.0)
    clock.saved(30.0)
    clock.durations.evaluation = 200.0
    clock_time.now += 3600 - 60 - more
    assert not asked(clock, evaluation=evaluation, save=save).walltime
    clock_time.now += 1
    assert asked(clock, evaluation=evaluation, save=save).walltime


def test_a_job_whose_end_has_passed_stops_at_once(clock_time: Time) -> None:
    assert asked(make(-1.0)).walltime


def test_walltime_and_time_budget_are_wishes_of_their_own(clock_time: Time) -> None:
    clock = make(7200.0, time_budget_hours=1.0)
    clock_time.now += 3601
    assert asked(clock) == Requests(time_over=True)
    clock_time.now += 3600
    assert asked(clock) == Requests(time_over=True, walltime=True)


# --- minutes between saves ---


def test_a_save_is_due_so_many_minutes_after_the_last(clock_time: Time) -> None:
    clock = make(save_every_minutes=1.5)
    clock_time.now += 89.0
    assert not asked(clock).save
    clock_time.now += 1.0
    assert asked(clock) == Requests(save=True)
    clock_time.now += 50.0
    assert asked(clock).save, "until there was one"
    clock.saved(20.0)
    assert not asked(clock).save
    clock_time.now += 90.0
    assert asked(clock).save, "counted from the end of the save"


def test_no_minutes_between_saves_means_none(clock_time: Time) -> None:
    clock = make(save_every_minutes=0.0)
    clock_time.now += 1e6
    assert not asked(clock).save
