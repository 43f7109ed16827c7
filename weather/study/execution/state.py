"""What each run of a study is at, from what is on disk: its records, its lock, its checkpoints, its attempts."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from weather.study.execution.records import (
    Attempt,
    Metrics,
    Outcome,
    change_last_attempt,
    error_line,
    log_lines,
    metrics_of,
    newest_checkpoint_step,
    process_lives,
    read_attempts,
    read_lock,
    read_metrics,
)
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan
from weather.training.checkpoint import MARKER
from weather.training.result import RESUMABLE

State = Literal["waiting", "ready", "queued", "running", "stopped", "finished", "failed", "impossible"]
LAST_STEP_REASONS = ("complete", "max_steps", "flops_budget")
ENDED = (*LAST_STEP_REASONS, "time_budget")
ASKED_TO_STOP = (-15, -1, -2, -10, -12)  # by a signal that came before the run could answer it
SILENT_SECONDS = 600.0  # after which a run that another host holds, and that writes nothing, is taken to be over
KILLED = "was killed; goes on when started again"
TOO_EARLY = "was tried before its trunk had come so far"


@dataclass(frozen=True)
class RunState:
    """Where a run stands.

    Attributes:
        state: see `State`; `impossible` only where a plan or an executor cannot have it.
        reason: of a state that is not just passing.
        step, total: done, and planned.
        loss: of the last evaluation; None before it.
        training_loss: of the last logged step.
        samples_per_second: lately.
        seconds: of training so far, of a branch with those of its trunk.
        seconds_left: to the end of a running run.
    """

    name: str
    role: str
    state: State
    reason: str = ""
    step: int = 0
    total: int = 0
    loss: float | None = None
    training_loss: float | None = None
    samples_per_second: float | None = None
    seconds: float | None = None
    seconds_left: float | None = None


def observe(folder: StudyFolder, plan: StudyPlan, held: Mapping[str, str] | None = None) -> dict[str, RunState]:
    """The state of every run of a plan, in the plan's order.

    Args:
        held: runs that an executor has, each `running` or `queued`; None where none was asked.
    """
    states: dict[str, RunState] = {}
    for run in plan.runs:
        metrics = read_metrics(folder, run.name)
        state, reason = _state(folder, run, metrics, held, states.get(run.trunk or ""))
        train = metrics.last("train")
        validation = metrics.last("validation")
        states[run.name] = RunState(
            run.name,
            run.role,
            state,
            reason,
            step=metrics.step,
            total=run.cost.steps,
            loss=validation.get("loss"),
            training_loss=train.get("loss"),
            samples_per_second=train.get("samples_per_second"),
            seconds=(metrics.stop or train).get("seconds"),
            seconds_left=train.get("seconds_left") if state == "running" else None,
        )
    return states


def observe_alone(run_folder: Path) -> tuple[State, str]:
    """State of a run of no study, whose end is its own, and the reason.

    Args:
        run_folder: with its metrics.jsonl.
    """
    metrics = metrics_of(run_folder)
    if metrics.stop is not None:
        reason = str(metrics.stop.get("reason"))
        if reason in ENDED:
            return "finished", ""
        if reason in RESUMABLE:
            return "stopped", f"{reason} at step {metrics.step}"
        return "failed", str(metrics.stop.get("error") or reason)
    holder = _holder(run_folder, metrics, [])
    return ("running", holder) if holder else ("stopped", f"killed after step {metrics.step}")


def _state(
    folder: StudyFolder, run: PlannedRun, metrics: Metrics, held: Mapping[str, str] | None, trunk: RunState | None
) -> tuple[State, str]:
    at = (held or {}).get(run.name)
    if at != "running" and _has_ended(run, metrics):
        return "finished", ""
    attempts = read_attempts(folder, run.name)
    gone = held is not None and bool(attempts) and attempts[-1].job is not None  # the queue would know its job
    holder = "" if at or gone else _holder(folder.run(run.name), metrics, attempts)
    if at == "running" or holder:
        return "running", holder
    if at == "queued":
        return "queued", ""
    step = newest_checkpoint_step(folder, run.name)
    if step >= run.cost.steps and metrics.last("validation").get("step") == step:
        return "finished", ""  # all was done and saved, but it was killed before it could say so
    begun = step > 0 or metrics.written > 0
    early = not begun and _came_too_early(folder, run, attempts)
    if early or not (attempts or begun):
        missing = _what_is_missing(run, trunk)
        return ("waiting", missing) if missing else ("ready", TOO_EARLY if early else "")
    outcome, reason = judge(folder, run, metrics, attempts, step)
    if outcome == "failed":
        return "failed", reason
    return ("stopped" if begun else "ready"), reason


def _has_ended(run: PlannedRun, metrics: Metrics) -> bool:
    stop = metrics.stop or {}
    at_the_end = stop.get("reason") in LAST_STEP_REASONS and stop.get("step", 0) >= run.cost.steps
    return at_the_end or stop.get("reason") == "time_budget"


def judge(
    folder: StudyFolder, run: PlannedRun, metrics: Metrics, attempts: list[Attempt], step: int
) -> tuple[Outcome, str]:
    """How the last attempt at a run that is over, but not at its end, has ended, and why.

    Args:
        step: of its newest checkpoint.
    """
    last = attempts[-1] if attempts else Attempt(started=0.0, host="")
    stop = metrics.stop if metrics.stop is not None and metrics.written >= last.started else {}
    lines = log_lines(folder, run.name, last.log_offset) if attempts else []
    reported = stop.get("error") or error_line(lines)
    if last.status == 0 and last.planned_steps == run.cost.steps:
        return "failed", f"ended at step {metrics.step} of {run.cost.steps}: the plan is of another archive; plan again"
    if last.job is not None and lines and lines[-1].startswith("error: "):
        return "failed", lines[-1]  # the batch script's last word, such as that another start would gain nothing
    if stop.get("reason") in RESUMABLE or last.status == 75:
        return "stopped", f"by {stop.get('reason', 'signal')}; goes on when started again"
    if stop.get("reason") in LAST_STEP_REASONS:
        return "stopped", "planned to go on"
    if stop or (last.status is None and reported) or (last.status is not None and last.status > 0):
        return "failed", reported or (lines[-1] if lines else f"exit status {last.status}")
    if last.status in ASKED_TO_STOP:
        return "stopped", "ended by a signal; goes on when started again"
    before = attempts[-2] if len(attempts) > 1 else None
    if before is not None and before.outcome == "died" and step <= before.checkpoint_step:
        where = f"its last line: {lines[-1]}" if lines else "nothing printed"
        return "failed", f"killed twice without progress (memory may be short); {where}"
    return "died", KILLED


def settle(folder: StudyFolder, run: PlannedRun) -> None:
    """Write down how the last attempt ended, for there will be another."""
    attempts = read_attempts(folder, run.name)
    if attempts and attempts[-1].outcome is None:
        step = newest_checkpoint_step(folder, run.name)
        outcome, _ = judge(folder, run, read_metrics(folder, run.name), attempts, step)
        change_last_attempt(folder, run.name, outcome=outcome)


def _came_too_early(folder: StudyFolder, run: PlannedRun, attempts: list[Attempt]) -> bool:
    """Whether a branch was tried before its trunk had come to where it leaves: the fault was not its own.

    A job of the trunk that may not be requeued submits another one and ends well: for SLURM the trunk is then done.
    """
    if not attempts or run.config.training.branch_from is None:
        return False
    try:
        saved = (Path(run.config.training.branch_from) / MARKER).stat().st_mtime
    except OSError:
        return True
    try:
        return folder.log_file(run.name).stat().st_mtime < saved
    except OSError:
        return attempts[-1].started < saved


def _what_is_missing(run: PlannedRun, trunk: RunState | None) -> str:
    """What a run waits for; empty if it can start."""
    start = run.config.training.branch_from
    if start is None or (Path(start) / MARKER).exists():
        return ""
    if trunk is None:
        return f"for {start}"
    if trunk.state == "failed":
        return f"its trunk '{trunk.name}' failed: {trunk.reason}"
    if trunk.state == "finished":
        return (
            f"its trunk '{trunk.name}' has finished, but {Path(start).name} is not there; to train the trunk again, "
            "move its folders in runs/ and checkpoints/ away"
        )
    return f"for step {run.first_step} of '{trunk.name}'"


def _holder(run_folder: Path, metrics: Metrics, attempts: list[Attempt]) -> str:
    """Who trains a run that no executor knows of; empty if nobody does.

    The lock is not tried, for a run that starts just then would find it taken: its holder is looked for.
    """
    here = socket.gethostname()
    if attempts and attempts[-1].host == here and attempts[-1].pid and attempts[-1].ended is None:
        last = attempts[-1]
        if process_lives(last.pid or 0, last.started):
            return f"process {last.pid}"
    lock = read_lock(run_folder)
    if lock is None:
        return ""
    pid, host, written = lock
    if host == here:
        return f"process {pid}" if process_lives(pid, written) else ""
    silent = time.time() - max(metrics.written, written)
    return f"on {host}" if metrics.stop is None and silent < SILENT_SECONDS else ""
