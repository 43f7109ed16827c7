"""``weather.scaling status``: what the runs of a study are at."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from weather.config.shared_options import PRINTED, add_json
from weather.study.commands.answer import write_json
from weather.study.commands.named_study import add_study_argument, study_named

if TYPE_CHECKING:
    from weather.study.execution.state import RunState
    from weather.study.folder import StudyFolder
    from weather.study.planned import StudyPlan

WATCH_SECONDS = 2.0
FILE_COLUMNS = 180  # of a table that goes into a file or a pipe


def add_parser(kinds: Any) -> None:
    """The subcommand's options."""
    status = kinds.add_parser(
        "status",
        help="what the runs of a study are at",
        description="A row for each run of a study: its state, step, loss, rate, time left, and why it failed or "
        "waits; then totals and the next command. The loss is that of the last evaluation; before it, in brackets, "
        "that of the last training step. Nothing is changed, and nobody who trains is disturbed.",
        epilog="examples: python -m weather.scaling status demo; python -m weather.scaling status demo --watch",
        allow_abbrev=False,
    )
    add_study_argument(status)
    add_json(status)
    status.add_argument("--watch", action="store_true", help="show it again every 2 s, until Ctrl-C")
    status.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Print the table.

    Raises:
        WeatherError: no such study.
    """
    import time

    from rich.console import Console

    from weather.study.execution.table import states_record

    folder = study_named(options.study)
    plan = folder.read_plan()
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_COLUMNS)
    while True:
        states = _states(folder, plan)
        if options.watch and console.is_terminal:
            console.clear()
        if options.json != PRINTED:
            _show(console, folder, plan, states)
        write_json(states_record(plan, states), options.json)
        if not options.watch:
            return 0
        try:
            time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:
            return 0


def _states(folder: StudyFolder, plan: StudyPlan) -> dict[str, RunState]:
    """From disk, and where runs were submitted and may be in a queue, from there."""
    import shutil
    import sys

    from weather.errors import LaunchError
    from weather.study.execution.records import read_attempts
    from weather.study.execution.slurm_queue import read_queue
    from weather.study.execution.state import observe

    last = [attempts[-1] for run in plan.runs if (attempts := read_attempts(folder, run.name))]
    if not any(attempt.job and attempt.ended is None for attempt in last) or shutil.which("squeue") is None:
        return observe(folder, plan)
    try:
        queue = read_queue(folder, plan.runs)
    except LaunchError as error:
        print(f"warning: {error} What is queued is not known.", file=sys.stderr)
        return observe(folder, plan)
    return observe(folder, plan, {name: job.held for name, job in queue.jobs.items()})


def _show(console: Any, folder: StudyFolder, plan: StudyPlan, states: dict[str, RunState]) -> None:
    from weather.study.execution.table import impossible_states, state_table, study_seconds_left, totals_line

    rows = [*states.values(), *impossible_states(plan)]
    console.print(state_table(f"study {plan.name}", rows))
    console.print(totals_line(rows, study_seconds_left(plan, states)), highlight=False)
    console.print(f"next: {_next_command(folder, states)}", highlight=False, markup=False, soft_wrap=True)


def _next_command(folder: StudyFolder, states: dict[str, RunState]) -> str:
    import socket

    from weather.study.execution.records import process_lives, read_lock
    from weather.study.folder import EXPERIMENTS

    lock = read_lock(folder.path)
    if lock is not None and lock[1] == socket.gethostname() and process_lives(lock[0], lock[2]):
        return f"nothing to do, process {lock[0]} conducts this study"
    name = folder.path.name if folder.path.parent == EXPERIMENTS else str(folder.path)
    found = {state.state for state in states.values()}
    if found <= {"finished"}:
        return f"python -m weather.scaling collect {name}"
    if found <= {"finished", "failed", "waiting"} and "failed" in found:
        return f"python -m weather.scaling start {name} --retry"
    return f"python -m weather.scaling start {name}"
