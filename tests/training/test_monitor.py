"""Readings come one step late, once, and say when a step went wrong; the clock counts training apart from pauses."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time

import pytest
import torch

from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.strategies.base import StepResult
from weather.training.monitor import Monitor, Reading, Requests, Stopwatch


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def result(norm: float = 1.0, applied: float = 1.0) -> StepResult:
    return StepResult(torch.tensor(norm), torch.tensor(applied))


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(choose_device("cpu", "fp32", Ranks()), world_size=1)


def test_a_reading_comes_one_step_late_and_once(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert monitor.read() is None
    assert monitor.record(1, torch.tensor(0.5), result(2.0), Requests()) is None
    clock.now += 3
    first = monitor.record(2, torch.tensor(0.25), result(), Requests())
    assert first == Reading(1, 0.5, 2.0, True, Requests(), time=1000.0), "the time is that of the step"
    clock.now += 5
    last = monitor.read()
    assert last is not None
    assert (last.step, last.loss, last.time) == (2, 0.25, 1003.0)
    assert monitor.read() is None
    assert monitor.record(3, torch.tensor(0.125), result(), Requests()) is None, "what was read is not read again"


WISHES = tuple(field.name for field in dataclasses.fields(Requests))


@pytest.mark.parametrize(
    "requests",
    [Requests(*values) for values in itertools.product([False, True], repeat=len(WISHES))],
    ids=lambda requests: "+".join(wish for wish in WISHES if getattr(requests, wish)) or "none",
)
def test_requests_travel_with_the_step(monitor: Monitor, requests: Requests) -> None:
    monitor.record(1, torch.tensor(0.5), result(), requests)
    reading = monitor.read()
    assert reading is not None
    assert reading.requests == requests


def test_a_run_can_be_asked_to_stop_to_end_its_time_or_its_job_and_to_save_and_told_that_a_save_failed() -> None:
    assert set(WISHES) == {"stop", "time_over", "walltime", "save", "save_failed"}
    assert not any(dataclasses.astuple(Requests())), "nothing is wished unasked"


def test_the_wish_of_one_rank_is_enough(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum over four ranks, of which one wishes: the loss is their mean, and a wish is a wish."""
    assert WISHES == ("stop", "time_over", "walltime", "save", "save_failed")
    others = torch.tensor([0.75, 0.0, 0.0, 1.0, 0.0, 1.0])
    monkeypatch.setattr("weather.training.monitor.sum_over_ranks", lambda shared: shared.add_(others))
    monitor.world_size = 4
    monitor.record(1, torch.tensor(1.0), result(2.0), Requests(save=True))
    reading = monitor.read()
    assert reading is not None
    assert reading.loss == 1.0
    assert reading.requests == Requests(walltime=True, save=True, save_failed=True)
    assert (reading.grad_norm, reading.applied) == (2.0, True), "those are the same on every rank"


@pytest.mark.parametrize(
    ("loss", "norm", "applied", "finite"),
    [
        (0.5, 1.0, 1.0, True),
        (math.nan, 1.0, 1.0, False),
        (math.inf, 1.0, 1.0, False),
        (0.5, math.nan, 1.0, False),
        (0.5, math.inf, 1.0, False),
        # Loss scaling met an overflow and skipped the step: the weights are as they were.
        (0.5, math.inf, 0.0, True),
        (math.nan, math.inf, 0.0, False),
    ],
)
def test_a_step_that_is_not_finite_is_seen(
    monitor: Monitor, loss: float, norm: float, applied: float, finite: bool
) -> None:
    monitor.record(1, torch.tensor(loss), result(norm, applied), Requests())
    reading = monitor.read()
    assert reading is not None
    assert reading.finite is finite
    assert reading.applied is (applied == 1.0)


def test_recording_holds_no_graph(monitor: Monitor) -> None:
    weight = torch.ones(3, requires_grad=True)
    monitor.record(1, weight.square().mean(), result(), Requests())
    reading = monitor.read()
    assert reading is not None
    assert reading.loss == pytest.approx(1.0)


def test_stopwatch_counts_earlier_starts_and_pauses_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch(before=500.0)
    clock.now += 10
    with watch.pause() as pause:
        clock.now += 4
    clock.now += 2
    assert pause.seconds == pytest.approx(4.0)
    assert watch.total() == pytest.approx(516.0), "evaluation is part of the run's time"
    assert watch.training_seconds() == pytest.approx(12.0), "and not of the training's, which is that of this start"
    assert watch.stretch(clock.now) == pytest.approx(12.0)
    clock.now += 3
    assert watch.stretch(clock.now) == pytest.approx(3.0), "a pause is taken off once"
    assert watch.training_seconds() == pytest.approx(15.0), "since the start, whatever stretches there were"


def test_training_seconds_can_be_told_for_a_time_before(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch(before=0.0)
    with watch.pause():
        clock.now += 4
    clock.now += 6
    then = clock.now
    clock.now += 10
    assert watch.training_seconds(then) == pytest.approx(6.0)
    assert watch.training_seconds() == pytest.approx(16.0)


def test_a_stretch_ends_with_its_last_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # The last step is read one step later, and the time since belongs to the stretch that follows.
    clock = Clock(monkeypatch)
    watch = Stopwatch(before=0.0)
    clock.now += 8
    last_step = clock.now
    clock.now += 2
    assert watch.stretch(last_step) == pytest.approx(8.0)
    clock.now += 1
    assert watch.stretch(clock.now) == pytest.approx(3.0)


def test_a_pause_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Stopwatch(before=0.0)
    with pytest.raises(ZeroDivisionError), watch.pause():
        clock.now += 5
        _ = 1 // 0
    clock.now += 1
    assert watch.stretch(clock.now) == pytest.approx(1.0)


def test_a_stretch_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert Stopwatch(before=0.0).stretch(clock.now) > 0, "rates divide by it"
