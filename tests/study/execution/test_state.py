"""What a run is at is read from disk alone, whatever has happened to it."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.study.execution.small_study import SmallStudy
from weather.study.execution.records import Attempt, newest_checkpoint_step, process_lives, read_metrics, write_attempts
from weather.study.execution.state import KILLED, TOO_EARLY, RunState, observe, settle
from weather.study.planned import StudyPlan

NOBODY = 2**22 + 1  # beyond the largest process number


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    small = SmallStudy(tmp_path)
    small.add_trunk("t", 20, {"b": (6, 9)})
    return small


def at(study: SmallStudy, name: str = "t", **held: str) -> RunState:
    return observe(study.folder, StudyPlan("small", "budgets", {}, tuple(study.runs)), held or None)[name]


def record(study: SmallStudy, name: str, *events: dict[str, Any], end: str = "") -> None:
    path = study.folder.run(name) / "metrics.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(event) + "\n" for event in events) + end)


def checkpoint(study: SmallStudy, name: str, folder: str, step: int) -> Path:
    path = study.folder.checkpoint_dir / name / folder
    path.mkdir(parents=True)
    (path / "COMPLETE").write_text(json.dumps({"step": step, "files": {}}))
    return path / "COMPLETE"


def attempt(study: SmallStudy, name: str, *earlier: Attempt, log: str = "", **values: Any) -> Attempt:
    """Write down a last attempt, over unless `values` say otherwise."""
    now = Attempt(**{"started": time.time() - 5, "host": "here", "pid": NOBODY, "planned_steps": 20, **values})
    write_attempts(study.folder, name, [*earlier, now])
    study.folder.log_file(name).write_text(log)
    return now


def train(step: int, **more: Any) -> dict[str, Any]:
    return {"event": "train", "step": step, "loss": 0.5, "samples_per_second": 8.0, "seconds": 2.0, **more}


def stop(step: int, reason: str, **more: Any) -> dict[str, Any]:
    return {"event": "stop", "step": step, "reason": reason, "seconds": 3.0, **more}


def test_before_anything(study: SmallStudy) -> None:
    assert at(study).state == "ready"
    assert (at(study, "b").state, at(study, "b").reason) == ("waiting", "for step 6 of 't'")
    checkpoint(study, "t", "checkpoint_epoch_1", 6)
    assert at(study, "b").state == "ready"


@pytest.mark.parametrize("end", ['{"event": "stop", "st', "\x00\x00", "[1]\n", '{"step": 4}\n'])
def test_damaged_lines_are_passed_over(study: SmallStudy, end: str) -> None:
    record(study, "t", {"event": "start", "step": 0}, train(7), end=end)
    state = at(study, t="running")
    assert (state.state, state.step, state.total, state.training_loss) == ("running", 7, 20, 0.5)
    assert (state.samples_per_second, state.seconds, state.loss) == (8.0, 2.0, None)


def test_only_the_end_of_a_long_file_is_read(study: SmallStudy) -> None:
    record(study, "t", *(train(step, filling="x" * 1000) for step in range(1, 1001)))
    assert read_metrics(study.folder, "t").step == 1000


@pytest.mark.parametrize(
    ("reason", "step", "state"),
    [
        ("max_steps", 20, "finished"),
        ("complete", 20, "finished"),
        ("flops_budget", 20, "finished"),
        ("time_budget", 11, "finished"),
        ("max_steps", 15, "stopped"),  # the plan has grown since
        ("signal", 11, "stopped"),
        ("walltime", 11, "stopped"),
        ("nonfinite", 11, "failed"),
    ],
)
def test_ends(study: SmallStudy, reason: str, step: int, state: str) -> None:
    record(study, "t", train(step), stop(step, reason, **({"error": "bad"} if reason == "nonfinite" else {})))
    assert at(study).state == state
    record(study, "t", train(step), stop(step, reason), {"event": "resume", "step": step})
    assert at(study, t="running").state == "running"
    assert at(study).state == "stopped", "it was started again, and killed"


def test_all_was_saved_but_the_run_was_killed_before_it_said_so(study: SmallStudy) -> None:
    record(study, "t", train(20), {"event": "validation", "step": 20, "loss": 0.4})
    assert at(study).state == "stopped"
    checkpoint(study, "t", "checkpoint_step_20", 20)
    assert (at(study).state, at(study).loss) == ("finished", 0.4)


def test_a_failure_has_its_reason(study: SmallStudy) -> None:
    attempt(study, "t", status=1, log="noise\nDataError: no such folder.\nlast words\n")
    assert (at(study).state, at(study).reason) == ("failed", "DataError: no such folder.")
    attempt(study, "t", status=1, log="noise\nlast words\n")
    assert (at(study).state, at(study).reason) == ("failed", "last words")
    attempt(study, "t", log="noise\nDataError: no such folder.\nlast words\n")  # nobody saw its exit status
    assert (at(study).state, at(study).reason) == ("failed", "DataError: no such folder.")
    assert at(study, "b").reason == "its trunk 't' failed: DataError: no such folder."
    attempt(study, "t", log="all is well\n")
    assert (at(study).state, at(study).reason) == ("ready", KILLED)


def test_a_job_that_gave_up_is_a_failure(study: SmallStudy) -> None:
    record(study, "t", train(3), stop(3, "walltime"))
    attempt(study, "t", job="7", log="SIGUSR1, passed on\nsaved\n")
    assert at(study).state == "stopped"
    attempt(study, "t", job="7", log="saved\nerror: no progress: the newest checkpoint is of step 3\n")
    assert (at(study).state, at(study).reason[:18]) == ("failed", "error: no progress")


def test_an_old_failure_is_not_that_of_a_later_attempt(study: SmallStudy) -> None:
    record(study, "t", train(3), stop(3, "error", error="DataError: old"))
    assert at(study).reason == "DataError: old"
    attempt(study, "t", started=time.time() + 5, status=-9)
    assert (at(study).state, at(study).reason) == ("stopped", KILLED)


def test_killed_twice_without_progress_is_a_failure(study: SmallStudy) -> None:
    record(study, "t", train(3))
    first = attempt(study, "t", status=-9)
    assert (at(study).state, at(study).reason) == ("stopped", KILLED)
    settle(study.folder, study.runs[0])
    first = dataclasses.replace(first, outcome="died")
    attempt(study, "t", first, status=-9, log="loading\n")
    assert at(study).state == "failed"
    assert "killed twice without progress" in at(study).reason and "its last line: loading" in at(study).reason
    attempt(study, "t", first, status=-15)
    assert at(study).state == "stopped", "somebody asked for it"
    attempt(study, "t", first, status=-9)
    checkpoint(study, "t", "checkpoint_step_3", 3)
    assert at(study).state == "stopped", "it had come further"


def test_settling_writes_down_how_an_attempt_ended(study: SmallStudy) -> None:
    record(study, "t", train(3))
    attempt(study, "t", status=-9)
    settle(study.folder, study.runs[0])
    written = json.loads((study.folder.path / "logs" / "t.json").read_text())["attempts"]
    assert [each["outcome"] for each in written] == ["died"]


def test_a_run_that_ends_short_of_its_plan_is_not_started_for_ever(study: SmallStudy) -> None:
    record(study, "t", train(18), stop(18, "complete"))
    attempt(study, "t", started=0.0, status=0)
    assert at(study).state == "failed" and "ended at step 18 of 20" in at(study).reason


def test_a_branch_that_came_before_its_trunk_waits_again(study: SmallStudy) -> None:
    """As where a job of the trunk may not be requeued: it submits another, and its dependents take it for done."""
    attempt(study, "b", job="7_0", log="CheckpointError: not a complete checkpoint: there is no such folder\n")
    assert (at(study, "b").state, at(study, "b").reason) == ("waiting", "for step 6 of 't'")
    marker = checkpoint(study, "t", "checkpoint_epoch_1", 6)
    os.utime(marker, (time.time() + 5,) * 2)
    assert (at(study, "b").state, at(study, "b").reason) == ("ready", TOO_EARLY)
    os.utime(marker, (1.0, 1.0))
    assert at(study, "b").state == "failed", "the trunk was there: this is a failure of its own"


def test_a_run_that_somebody_else_trains_is_running(study: SmallStudy) -> None:
    record(study, "t", train(3))
    lock = study.folder.run("t") / "lock"
    lock.write_text(f"process {os.getpid()} on {os.uname().nodename}\n")
    assert at(study).state == "running"
    lock.write_text(f"process {NOBODY} on {os.uname().nodename}\n")
    assert at(study).state == "stopped"
    lock.write_text("process 1 on another-host\n")
    assert (at(study).state, at(study).reason) == ("running", "on another-host")
    for path in (lock, study.folder.run("t") / "metrics.jsonl"):
        os.utime(path, (time.time() - 3600,) * 2)
    assert at(study).state == "stopped", "it has been silent for long"


def test_a_process_that_is_over_or_younger_does_not_live() -> None:
    now = time.time()
    assert process_lives(os.getpid(), now)
    assert not process_lives(os.getpid(), now - 1e6), "another process had that number then"
    assert not process_lives(NOBODY, now)
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: it has ended, and nobody has fetched it
    assert not process_lives(child.pid, now)
    child.wait()


def test_half_a_checkpoint_is_none(study: SmallStudy) -> None:
    checkpoint(study, "t", "checkpoint_step_9", 9)
    checkpoint(study, "t", "checkpoint_step_12", 12).write_text("{")
    checkpoint(study, "t", "checkpoint_step_15.damaged", 15)
    (study.folder.checkpoint_dir / "t" / "checkpoint_step_18").mkdir()
    assert newest_checkpoint_step(study.folder, "t") == 9
