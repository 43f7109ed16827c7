"""What a logged step says of the budgets, and what is said of gradients and of the end."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.archives import WrittenArchive
from weather.config.wrapper import ConfigWrapper
from weather.data.loader import BatchLoader
from weather.runtime.device import choose_device
from weather.runtime.logs import RunLog
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import METRICS_FILE
from weather.strategies.base import Strategy
from weather.training.checkpoint import Progress
from weather.training.monitor import Reading, Requests, Stopwatch
from weather.training.preparation import Prepared, prepare
from weather.training.reporting import Reporter

STEPS = 100


class WaitedFor:
    """As much of a loader as a report asks for."""

    waited_seconds = 0.0


class FixedWatch(Stopwatch):
    """A run that has taken `spent` seconds."""

    def __init__(self, spent: float) -> None:
        super().__init__(before=0.0)
        self.spent = spent
        self.began = self._began = 1000.0  # round, so that seconds since are exact

    def total(self) -> float:
        return self.spent


@dataclass
class Told:
    """A reporter and what it has said."""

    reporter: Reporter
    prepared: Prepared
    watch: FixedWatch
    folder: Path
    capsys: pytest.CaptureFixture[str]
    per_step: float

    def reading(self, step: int) -> Reading:
        """A step of a run whose every step takes the same time."""
        return Reading(step, 0.5, 1.0, True, Requests(), self.watch.began + step * self.per_step)

    def step(self, step: int) -> tuple[dict[str, Any], str]:
        """The record and the line of a step."""
        self.capsys.readouterr()
        self.reporter.step(self.reading(step))
        return self.events("train")[-1], self.capsys.readouterr().out.splitlines()[-1]

    def events(self, event: str) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in (self.folder / METRICS_FILE).read_text().splitlines()]
        return [record for record in records if record["event"] == event]


@pytest.fixture
def report(
    make_archive: Callable[..., WrittenArchive], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Told]]:
    """Makes a reporter of a run of 100 steps, of which each is logged and takes 2 s."""
    written, logs = make_archive(), []

    def make(spent: float = 0.0, per_step: float = 2.0, steps_of_budget: float | None = None, **training: Any) -> Told:
        settings: dict[str, Any] = {
            "model": {"patch_size": 2, "embed_dim": 8, "num_heads": 2, "num_layers": 1},
            "data": {"data_dir": str(written.folder)},
            "training": {"max_steps": STEPS, "epochs": 1000, "log_frequency": 1} | training,
            "experiment": {"name": "one"},
        }
        config = ConfigWrapper(settings)
        if steps_of_budget is not None:
            cost = prepare(config).length.flops_per_step
            config = config.replace({"training.flops_budget": steps_of_budget * cost})
        prepared = prepare(config)
        log = RunLog(tmp_path, prepared.config, speaks=True)
        log.open(0)
        logs.append(log)
        watch = FixedWatch(spent)
        device = choose_device("cpu", "fp32", Ranks())
        loader = cast(BatchLoader, WaitedFor())
        reporter = Reporter(log, prepared, device, Ranks(), watch, loader)
        return Told(reporter, prepared, watch, tmp_path, capsys, per_step)

    yield make
    for log in logs:
        log.close()


def test_without_a_budget_the_end_follows_from_steps_and_speed(report: Callable[..., Told]) -> None:
    told = report()
    before = datetime.datetime.now(datetime.timezone.utc)
    record, line = told.step(40)
    after = datetime.datetime.now(datetime.timezone.utc)
    assert record["seconds_left"] == 60 * 2.0
    ending = datetime.datetime.fromisoformat(record["estimated_end"])
    # Whole seconds are written.
    assert before - datetime.timedelta(seconds=1) <= ending - datetime.timedelta(seconds=120) <= after
    assert ending.utcoffset() == datetime.timedelta(0)
    assert not {"flops_remaining", "seconds_remaining"} & record.keys()
    assert "budget" not in line and line.endswith("left 0:02:00")


def test_a_flops_budget_is_told_with_what_is_left_of_it(report: Callable[..., Told]) -> None:
    told = report(steps_of_budget=80.5)
    cost = told.prepared.length.flops_per_step
    assert told.prepared.length.total_steps == 80
    record, line = told.step(10)
    assert record["flops"] == 10 * cost
    assert record["flops_remaining"] == pytest.approx(70.5 * cost, rel=1e-12)
    assert record["seconds_left"] == 70 * 2.0
    assert "budget 12.4%" in line  # 10 of 80.5
    record, line = told.step(80)
    assert 0 <= record["flops_remaining"] < cost and record["seconds_left"] == 0.0
    assert "budget 99.4%" in line


def test_a_time_budget_is_told_with_what_is_left_of_it(report: Callable[..., Told]) -> None:
    told = report(spent=443.0, time_budget_hours=1.0)
    record, line = told.step(40)
    assert record["seconds_remaining"] == 3600 - 443
    assert record["seconds_left"] == 120.0, "the steps end first"
    assert "flops_remaining" not in record
    assert "budget 12.3%" in line
    assert told.events("warning") == []


def test_a_time_budget_that_is_overdrawn_has_nothing_left(report: Callable[..., Told]) -> None:
    told = report(spent=3700.0, time_budget_hours=1.0)
    record, _ = told.step(100)
    assert record["seconds_remaining"] == 0.0 and record["seconds_left"] == 0.0


def test_of_two_budgets_the_one_that_ends_first_is_told(report: Callable[..., Told]) -> None:
    told = report(spent=1800.0, steps_of_budget=80.0, time_budget_hours=1.0)
    assert "budget 50.0%" in told.step(8)[1]
    assert "budget 75.0%" in told.step(60)[1]


def test_a_time_budget_that_will_cut_the_schedule_short_is_told_once(report: Callable[..., Told]) -> None:
    told = report(spent=3500.0, time_budget_hours=1.0)
    told.reporter.first_step = 1  # the run did not begin with this step
    record, _ = told.step(20)
    assert record["seconds_left"] == record["seconds_remaining"] == 100.0, "80 steps of 2 s do not fit"
    told.step(21)
    [warning] = told.events("warning")
    assert warning["step"] == 20
    assert "ends the run near step 70" in warning["what"] and "planned for 100 steps" in warning["what"]
    assert "flops_budget or max_steps" in warning["what"]


@pytest.mark.parametrize(("spent", "warned"), [(3600 - 160 / 1.1 - 0.1, False), (3600 - 160 / 1.1 + 0.1, True)])
def test_a_tenth_too_little_time_is_within_the_error_of_the_estimate(
    report: Callable[..., Told], spent: float, warned: bool
) -> None:
    told = report(spent=spent, time_budget_hours=1.0)
    told.reporter.first_step = 1
    told.step(20)
    assert bool(told.events("warning")) is warned


def test_speed_and_remaining_time_are_of_the_steps_since_the_last_line(report: Callable[..., Told]) -> None:
    told = report(log_frequency=10, per_step=1.0)
    record, _ = told.step(10)
    assert record["samples_per_second"] == pytest.approx(4 / 1.0)
    assert record["seconds_left"] == 90 * 1.0
    told.reporter.step(Reading(20, 0.5, 1.0, True, Requests(), told.watch.began + 10 * 1.0 + 10 * 3.0))
    record = told.events("train")[-1]
    assert record["samples_per_second"] == pytest.approx(4 / 3.0)
    assert record["seconds_left"] == 80 * 3.0
    told.reporter.step(told.reading(21))
    assert [record["step"] for record in told.events("train")] == [10, 20]


# --- the start ---


class Named:
    """As much of a strategy as a report asks for."""

    name, model = "single", None


@pytest.mark.parametrize(("left", "told_as"), [(None, None), (5400.4, "1:30:00"), (59.0, "0:00:59")])
def test_the_start_says_when_the_job_ends(
    report: Callable[..., Told], monkeypatch: pytest.MonkeyPatch, left: float | None, told_as: str | None
) -> None:
    told = report()
    monkeypatch.setattr(time, "monotonic", lambda: 7000.0)
    deadline = None if left is None else 7000.0 + left
    told.reporter.start(Progress(), None, cast(Strategy, Named()), deadline)
    lines = [line for line in told.capsys.readouterr().out.splitlines() if "job" in line]
    assert lines == [f"this job ends in {told_as}; the run saves and stops before"] * (told_as is not None)
    assert [record["step"] for record in told.events("start")] == [0]


# --- gradients ---


def test_gradients_that_are_odd_are_told_by_kind_with_every_name(report: Callable[..., Told]) -> None:
    told = report()
    problems = {"a.bias": "missing", "b.weight": "zero", "c.weight": "missing", "d.weight": "not finite"}
    told.capsys.readouterr()
    told.reporter.gradients(3, problems)
    assert told.events("gradients") == [{"event": "gradients", "step": 3, "problems": problems}]
    assert told.capsys.readouterr().out.splitlines() == [
        "step 3: gradient missing for 2 parameters: a.bias, c.weight",
        "step 3: gradient zero for 1 parameters: b.weight",
        "step 3: gradient not finite for 1 parameters: d.weight",
    ]


def test_gradients_in_order_are_told_too(report: Callable[..., Told]) -> None:
    told = report()
    told.reporter.gradients(1, {})
    assert told.events("gradients") == [{"event": "gradients", "step": 1, "problems": {}}]
    assert told.capsys.readouterr().out == "step 1: every parameter has a finite gradient that is not zero\n"


# --- the end ---


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        ("complete", "complete (all epochs) at step 7"),
        ("max_steps", "complete (max_steps) at step 7"),
        ("flops_budget", "complete (flops_budget) at step 7"),
        ("time_budget", "complete (time_budget) at step 7"),
        ("signal", "stopped, start it again to go on (signal) at step 7"),
        ("walltime", "stopped, start it again to go on (walltime) at step 7"),
    ],
)
def test_the_end_says_whether_there_is_something_left_to_do(
    report: Callable[..., Told], reason: str, line: str
) -> None:
    told = report()
    told.reporter.stop(Progress(step=7, samples=28, flops=10**9, seconds=61.0), reason)
    assert told.capsys.readouterr().out == f"{line}: 28 samples, 1e+09 FLOPs, 0:01:01\n"
    assert told.events("stop") == [{"event": "stop", "step": 7, "reason": reason, "flops": 10**9, "seconds": 61.0}]
