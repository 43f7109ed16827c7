"""The clock stops a run inside its time budget, and a job while there is still time to save."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from weather.config.schema import TrainingSection
from weather.training.clock import LEAVING_SECONDS, RECENT_STEPS, Clock
from weather.training.monitor import Requests, Stopwatch


class Time:
    """Moves only when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock_time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


class Saves:
    """How long a save takes that is waited for, as a store tells it; 0 as long as none was measured."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def saves() -> Saves:
    return Saves()


@pytest.fixture
def make(clock_time: Time, saves: Saves) -> Callable[..., Clock]:
    def make(left: float | None = None, *, before: float = 0.0, **settings: Any) -> Clock:
        """A clock whose job ends in `left` seconds, of a run that has taken `before` seconds."""
        deadline = None if left is None else time.monotonic() + left
        return Clock(TrainingSection(**settings), Stopwatch(before), deadline, saves)

    return make


def asked(clock: Clock, *, evaluation: bool = False, save: bool = False) -> Requests:
    return clock.requests(evaluation_near=evaluation, save_near=save)


def take_steps(clock: Clock, clock_time: Time, *seconds: float) -> None:
    """A first step of no time, then steps that take so many seconds each."""
    asked(clock)
    for length in seconds:
        clock_time.now += length
        asked(clock)


def test_without_a_limit_the_clock_wishes_nothing(make: Callable[..., Clock], clock_time: Time, saves: Saves) -> None:
    clock = make()
    clock.evaluation_seconds, saves.seconds = 1e6, 1e6
    clock_time.now += 1e9
    assert asked(clock, evaluation=True, save=True) == Requests()


# --- how long a step takes ---


def test_a_step_is_timed_from_one_request_to_the_next(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make()
    assert clock.step_seconds == 0.0
    asked(clock)
    clock_time.now += 7.0
    assert clock.step_seconds == 0.0, "not before it has ended"
    asked(clock)
    assert clock.step_seconds == 7.0


def test_the_first_step_of_a_start_does_not_count(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(3600.0)
    clock_time.now += 300.0  # compiling
    asked(clock)
    assert clock.step_seconds == 0.0
    clock_time.now += 2.0
    asked(clock)
    assert clock.step_seconds == 2.0


def test_the_longest_of_the_last_steps_counts(make: Callable[..., Clock], clock_time: Time) -> None:
    assert RECENT_STEPS == 5
    clock = make()
    take_steps(clock, clock_time, 2.0, 9.0, 3.0)
    assert clock.step_seconds == 9.0
    for seconds in (1.0, 1.0, 4.0):
        clock_time.now += seconds
        asked(clock)
    assert clock.step_seconds == 9.0, "it is one of the last five"
    clock_time.now += 1.0
    asked(clock)
    assert clock.step_seconds == 4.0, "no longer"


def test_a_pause_is_no_part_of_a_step(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make()
    asked(clock)
    clock_time.now += 1.0
    with clock.watch.pause():
        clock_time.now += 500.0
    clock_time.now += 2.0
    asked(clock)
    assert clock.step_seconds == 3.0
    with clock.watch.pause():
        clock_time.now += 500.0
    clock_time.now += 4.0
    asked(clock)
    assert clock.step_seconds == 4.0


# --- time budget ---


def test_a_time_budget_ends_with_its_last_second(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0)
    clock_time.now += 3600
    assert asked(clock) == Requests()
    clock = make(time_budget_hours=1.0)
    clock_time.now += 3601
    assert asked(clock) == Requests(time_over=True)


def test_a_time_budget_counts_earlier_starts(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0, before=3000.0)
    clock_time.now += 600
    assert not asked(clock).time_over
    clock = make(time_budget_hours=1.0, before=3000.0)
    clock_time.now += 601
    assert asked(clock).time_over


@pytest.mark.parametrize(
    ("evaluation", "save", "reserve"),
    [
        (False, False, 2 * 7 + 100 + 30),
        (True, False, 2 * 7 + 2 * 100 + 30),
        (False, True, 2 * 7 + 100 + 2 * 30),
        (True, True, 2 * 7 + 2 * 100 + 2 * 30),
    ],
)
def test_a_time_budget_keeps_back_two_steps_an_evaluation_and_a_save_and_those_that_are_near(
    make: Callable[..., Clock], clock_time: Time, saves: Saves, evaluation: bool, save: bool, reserve: float
) -> None:
    clock = make(time_budget_hours=1.0)
    take_steps(clock, clock_time, 7.0)
    clock.evaluation_seconds, saves.seconds = 100.0, 30.0
    # The rest is a pause, so that it makes no step longer.
    with clock.watch.pause():
        clock_time.now += 3600 - reserve - 7.0
    assert not asked(clock, evaluation=evaluation, save=save).time_over
    clock_time.now += 1
    assert asked(clock, evaluation=evaluation, save=save).time_over
    assert asked(clock, evaluation=True, save=True).time_over


def test_what_was_not_measured_yet_takes_nothing_of_a_time_budget(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(time_budget_hours=1.0)
    clock_time.now += 3600
    assert not asked(clock, evaluation=True, save=True).time_over


# --- walltime ---


@pytest.mark.parametrize(
    ("left", "assumed"), [(36_000.0, 120.0), (600.0, 120.0), (400.0, 80.0), (0.0, 0.0), (-5.0, 0.0)]
)
def test_before_a_save_was_measured_a_minute_is_assumed_but_no_more_than_a_tenth(
    make: Callable[..., Clock], left: float, assumed: float
) -> None:
    assert LEAVING_SECONDS == 5.0
    assert make(left).margin() == pytest.approx(assumed + 5.0), "twice 60 s, or twice a tenth of what was left"


def test_the_margin_is_twice_a_save_three_steps_and_the_end(
    make: Callable[..., Clock], clock_time: Time, saves: Saves
) -> None:
    clock = make(36_000.0)
    saves.seconds = 40.0
    assert clock.margin() == 80.0 + 5.0
    saves.seconds = 5.0
    take_steps(clock, clock_time, 2.0)
    assert clock.margin() == 10.0 + 6.0 + 5.0


def test_a_save_under_way_counts_as_the_store_tells_it(
    make: Callable[..., Clock], clock_time: Time, saves: Saves
) -> None:
    clock = make(3600.0)
    saves.seconds = 30.0
    clock_time.now += 3600 - 100
    assert not asked(clock).walltime
    saves.seconds = 60.0
    assert asked(clock).walltime, "asked anew at every step"


def test_the_assumed_save_does_not_shrink_with_the_time_that_is_left(
    make: Callable[..., Clock], clock_time: Time
) -> None:
    clock = make(400.0)
    clock_time.now += 300
    assert clock.margin() == pytest.approx(80.0 + 5.0)


def test_the_job_ends_with_its_margin_left(make: Callable[..., Clock], clock_time: Time, saves: Saves) -> None:
    clock = make(3600.0)
    saves.seconds = 30.0
    take_steps(clock, clock_time, 4.0)
    with clock.watch.pause():
        clock_time.now += 3600 - 4 - (2 * 30 + 3 * 4 + 5)
    assert not asked(clock).walltime
    clock_time.now += 1
    assert asked(clock) == Requests(walltime=True)


def test_before_a_save_was_measured_the_job_ends_earlier(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(3600.0)
    clock_time.now += 3600 - 125
    assert not asked(clock).walltime
    clock = make(3600.0)
    clock_time.now += 3600 - 124
    assert asked(clock).walltime


@pytest.mark.parametrize(
    ("evaluation", "save", "more"),
    [(False, False, 0.0), (True, False, 200.0), (False, True, 30.0), (True, True, 230.0)],
)
def test_an_evaluation_or_a_save_that_is_near_needs_its_own_time(
    make: Callable[..., Clock], clock_time: Time, saves: Saves, evaluation: bool, save: bool, more: float
) -> None:
    clock = make(3600.0)
    clock.evaluation_seconds, saves.seconds = 200.0, 30.0
    with clock.watch.pause():
        clock_time.now += 3600 - 60 - 5 - more
    assert not asked(clock, evaluation=evaluation, save=save).walltime
    with clock.watch.pause():
        clock_time.now += 1
    assert asked(clock, evaluation=evaluation, save=save).walltime


@pytest.mark.parametrize(("left", "assumed"), [(3600.0, 60.0), (400.0, 40.0)])
def test_an_evaluation_of_unknown_length_is_assumed_as_an_unknown_save_is(
    make: Callable[..., Clock], clock_time: Time, left: float, assumed: float
) -> None:
    clock = make(left)
    with clock.watch.pause():
        clock_time.now += left - 2 * assumed - 5 - assumed
    assert not asked(clock, evaluation=True).walltime
    with clock.watch.pause():
        clock_time.now += 1
    assert asked(clock, evaluation=True).walltime
    assert not asked(clock).walltime, "only if it is near"
    clock.evaluation_seconds = 1.0
    assert not asked(clock, evaluation=True).walltime, "once it was measured, that counts"


def test_a_job_whose_end_has_passed_stops_at_once(make: Callable[..., Clock]) -> None:
    assert asked(make(-1.0)).walltime


def test_walltime_and_time_budget_are_wishes_of_their_own(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(7200.0, time_budget_hours=1.0)
    with clock.watch.pause():
        clock_time.now += 3601
    assert asked(clock) == Requests(time_over=True)
    with clock.watch.pause():
        clock_time.now += 3600
    assert asked(clock) == Requests(time_over=True, walltime=True)


# --- minutes between saves ---


def test_a_save_is_due_so_many_minutes_after_the_last(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(save_every_minutes=1.5)
    clock_time.now += 89.0
    assert not asked(clock).save
    clock_time.now += 1.0
    assert asked(clock) == Requests(save=True)
    clock_time.now += 50.0
    assert asked(clock).save, "until there was one"
    clock.saved()
    assert not asked(clock).save
    clock_time.now += 89.0
    assert not asked(clock).save, "counted from the save"
    clock_time.now += 1.0
    assert asked(clock).save


def test_no_minutes_between_saves_means_none(make: Callable[..., Clock], clock_time: Time) -> None:
    clock = make(save_every_minutes=0.0)
    clock_time.now += 1e6
    assert not asked(clock).save


def test_a_job_that_must_leave_in_time_saves_early_once(
    make: Callable[..., Clock], clock_time: Time, saves: Saves
) -> None:
    """Nobody knows yet how long a save takes; a run without a deadline, or that knows it, does not."""
    clock = make(7200.0)
    assert not asked(clock).save
    take_steps(clock, clock_time, 1.0, 1.0)
    assert asked(clock).save
    clock.saved()
    assert not asked(clock).save
    known, free = make(7200.0), make()
    take_steps(free, clock_time, 1.0, 1.0, 1.0)
    assert not asked(free).save
    saves.seconds = 3.0
    take_steps(known, clock_time, 1.0, 1.0, 1.0)
    assert not asked(known).save
