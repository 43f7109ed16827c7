"""Brings the runs of a written plan to their end, whoever made it, through any number of interruptions."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping

from weather.errors import EXIT_COMPLETE, EXIT_FAILED, EXIT_STOPPED, LaunchError
from weather.runtime.run_folder import RunLock
from weather.runtime.stop import StopSignals
from weather.study.execution.board import Board, failures
from weather.study.execution.contract import Executor
from weather.study.execution.state import KILLED, TOO_EARLY, RunState, observe, settle
from weather.study.execution.table import totals_line
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan

ALIVE = ("running", "queued")


def conduct(folder: StudyFolder, executor: Executor, *, retry: bool = False, wait: bool = True) -> int:
    """Start what can be started, until everything is at its end or somebody asks to stop.

    Finished runs are kept. A run that was stopped or killed goes on; one that failed only with `retry`, and once.

    Args:
        folder: with a plan.
        retry: start failed runs again.
        wait: follow the runs to their end; else only submit them, which an executor must outlive.

    Returns:
        0 all runs are finished; 1 some are not and will not be by themselves; 75 interrupted, start it again to go on.

    Raises:
        DataError: there is no plan.
        LaunchError: another conductor is at work here, or the executor cannot serve.
    """
    plan = folder.read_plan()
    if not wait and not executor.outlives:
        raise LaunchError("--no-wait, but these runs end with this process", fix="--executor slurm, or leave it out")
    with StopSignals() as signals, _only_conductor(folder):
        executor.open(folder, plan.runs)
        session = _Session(folder, plan, executor, retry)
        with Board(plan) as board:
            states = session.states()
            while signals.received is None:
                board.show(states)
                started = session.start(states)
                for name, how in started.items():
                    board.say(f"{name}: {how}")
                alive = any(state.state in ALIVE for state in states.values())
                if not wait or not (alive or started):
                    break
                _sleep(executor.poll_seconds, signals)
                states = session.states()
            if signals.received is not None and not executor.outlives:
                board.say(f"{signals.received}: waits until the runs have saved")
                executor.stop()
                while executor.look():
                    board.show(session.states())
                    time.sleep(executor.poll_seconds)
            states = session.states()
            board.show(states)
        return _summary(board, session, states, interrupted=signals.received is not None, waited=wait)


def commands(folder: StudyFolder, executor: Executor, *, retry: bool = False) -> list[str]:
    """What `conduct` would start, as lines for a shell; branches that wait for their trunk stand after it.

    Raises:
        DataError: there is no plan.
        LaunchError: the executor cannot serve.
    """
    plan = folder.read_plan()
    executor.open(folder, plan.runs)
    session = _Session(folder, plan, executor, retry)
    try:
        states = session.states()
    except LaunchError:  # this machine has no queue: the commands are those for one that is empty
        states = observe(folder, plan)
    startable, chained = session.startable(states)
    later = [run for run in session.order if states[run.name].state == "waiting" and run not in startable]
    return executor.lines([*startable, *later], {*chained, *(run.name for run in later)})


def starting_order(plan: StudyPlan) -> list[PlannedRun]:
    """Trunks first, then what most others wait for, then the longest."""
    waiting = {run.name: sum(other.trunk == run.name for other in plan.runs) for run in plan.runs}
    timed = all(run.cost.seconds is not None for run in plan.runs)

    def key(run: PlannedRun) -> tuple[bool, int, float]:
        length = float(run.cost.seconds or 0.0) if timed else float(run.own_flops)
        return run.role != "trunk", -waiting[run.name], -length

    return sorted(plan.runs, key=key)


class _Session:
    """What one call of `conduct` has started, so that nothing is started twice in it that somebody has stopped."""

    def __init__(self, folder: StudyFolder, plan: StudyPlan, executor: Executor, retry: bool) -> None:
        self.folder, self.plan, self.executor, self.retry = folder, plan, executor, retry
        self.order = starting_order(plan)
        self.begun: set[str] = set()

    def states(self) -> dict[str, RunState]:
        """As on disk and in the executor; `impossible` what this one cannot train."""
        states = observe(self.folder, self.plan, self.executor.look())
        for run in self.plan.runs:
            state = states[run.name]
            reason = "" if state.state in ("finished", *ALIVE) else self.executor.cannot(run)
            if reason:
                states[run.name] = dataclasses.replace(state, state="impossible", reason=reason)
            if state.state == "waiting":
                self.begun.discard(run.name)
        return states

    def startable(self, states: Mapping[str, RunState]) -> tuple[list[PlannedRun], set[str]]:
        """The runs to start, in order, and the names of those among them that wait for a trunk that is under way."""
        chosen: list[PlannedRun] = []
        waiting: set[str] = set()
        for run in self.order:
            state = states[run.name]
            fresh = run.name not in self.begun
            chained = self.executor.chains and run.trunk is not None
            if state.state in ("ready", "stopped"):
                wanted = fresh or state.reason in (KILLED, TOO_EARLY)
            elif state.state == "waiting" and chained:
                taken = any(run.trunk == other.name for other in chosen)
                wanted = taken or states[str(run.trunk)].state in ALIVE
                waiting |= {run.name} if wanted else set()
            else:
                wanted = state.state == "failed" and self.retry and fresh
            if wanted:
                chosen.append(run)
        return chosen, waiting

    def start(self, states: Mapping[str, RunState]) -> dict[str, str]:
        """Start what there is room for; gives the names, and how each was started."""
        runs, waiting = self.startable(states)
        for run in runs:
            if run.name not in waiting:
                settle(self.folder, run)
        started = self.executor.start(runs, waiting) if runs else {}
        self.begun |= started.keys()
        return started


@contextlib.contextmanager
def _only_conductor(folder: StudyFolder) -> Iterator[None]:
    lock = RunLock(folder.path)
    try:
        lock.acquire()
    except LaunchError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        holder = lock.path.read_text(encoding="utf-8").strip()
        raise LaunchError(
            f"the study is conducted by {holder}",
            where=folder.path,
            rule="one conductor at a time starts the runs of a study",
            fix=f"see what it does: python -m weather.scaling status {folder.path}",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _sleep(seconds: float, signals: StopSignals) -> None:
    """Short naps, for a handler that only remembers a signal does not end a long one."""
    end = time.monotonic() + seconds
    while signals.received is None and time.monotonic() < end:
        time.sleep(min(0.2, max(0.0, end - time.monotonic())))


def _summary(
    board: Board, session: _Session, states: Mapping[str, RunState], *, interrupted: bool, waited: bool
) -> int:
    for line in failures(states.values()) if waited else []:
        board.say(line)
    board.say(totals_line(list(states.values()), None))
    again = f"python -m weather.scaling start {session.folder.path}"
    found = {state.state for state in states.values()}
    if found & {*ALIVE} and session.executor.outlives:
        board.say(f"jobs stay in the queue; to follow them and to submit what is left: {again} --executor slurm")
    elif interrupted or "stopped" in found:
        board.say(f"to go on: {again}")
    if interrupted:
        return EXIT_STOPPED
    if not waited:
        return EXIT_COMPLETE
    if found <= {"finished"}:
        return EXIT_COMPLETE
    if "failed" in found:
        board.say(f"to start failed runs again: {again} --retry")
    return EXIT_FAILED if found & {"failed", "waiting", "impossible"} else EXIT_STOPPED
