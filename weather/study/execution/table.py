"""The state of a study for people: a table, totals, and what is left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weather.runtime.progress import duration
from weather.study.execution.state import RunState, State
from weather.study.planned import PlannedRun, StudyPlan

if TYPE_CHECKING:
    from rich.table import Table

COLOURS: dict[State, str] = {
    "running": "cyan",
    "queued": "blue",
    "ready": "default",
    "stopped": "yellow",
    "waiting": "bright_black",
    "failed": "red",
    "impossible": "red",
    "finished": "green",
}


def state_table(title: str, states: Iterable[RunState]) -> Table:
    """A row a run."""
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), title_justify="left")
    for column in ("run", "role", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("step", "loss", "samples/s", "left"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for each in states:
        table.add_row(
            Text(each.name),
            each.role,
            Text(each.state, style=COLOURS[each.state]),
            step_of(each),
            loss_of(each),
            "-" if each.samples_per_second is None else f"{each.samples_per_second:.4g}",
            "-" if each.seconds_left is None else duration(each.seconds_left),
            Text(each.reason),
        )
    return table


def step_of(state: RunState) -> str:
    return f"{state.step}/{state.total}" if state.total else "-"


def loss_of(state: RunState) -> str:
    """Of the last evaluation; before it, in brackets, of the last training step."""
    if state.loss is not None:
        return f"{state.loss:.4f}"
    return "-" if state.training_loss is None else f"({state.training_loss:.4f})"


def totals(states: Iterable[RunState]) -> dict[str, int]:
    """Number of runs in each state that any is in."""
    counted = Counter(state.state for state in states)
    return {state: counted[state] for state in COLOURS if counted[state]}


def totals_line(states: Sequence[RunState], seconds_left: float | None) -> str:
    """Such as: 7 runs: 2 running, 5 finished; about 0:03:10 left."""
    counts = ", ".join(f"{number} {state}" for state, number in totals(states).items())
    left = "" if seconds_left is None else f"; about {duration(seconds_left)} left"
    return f"{len(states)} runs: {counts}{left}"


def study_seconds_left(plan: StudyPlan, states: Mapping[str, RunState]) -> float | None:
    """Estimate of the time until all runs are done, as many at a time as now; None where nothing running tells.

    A run takes its remaining FLOPs at the rate of the running or finished run whose size is nearest. Branches that must
    wait for each other may make it longer.
    """
    rates = {}
    for run in plan.runs:
        rate = states[run.name].samples_per_second
        if rate:
            rates[run.cost.parameters] = rate * run.cost.flops / run.cost.samples
    running = [run for run in plan.runs if states[run.name].state == "running"]
    if not rates or not running:
        return None
    seconds = [_seconds_left(run, states[run.name], rates) for run in plan.runs]
    return max(sum(seconds) / len(running), *seconds)


def _seconds_left(run: PlannedRun, state: RunState, rates: Mapping[int, float]) -> float:
    if state.state in ("finished", "failed", "impossible"):
        return 0.0
    if state.seconds_left is not None:
        return state.seconds_left
    nearest = min(rates, key=lambda size: abs(math.log(size / run.cost.parameters)))
    steps = run.cost.steps - max(run.first_step, state.step)
    return max(0, steps) * run.cost.flops / run.cost.steps / rates[nearest]


def impossible_states(plan: StudyPlan) -> list[RunState]:
    """What was asked for and could not be planned."""
    reasons = {
        each.name: each.reason + (f"; nearest: {each.nearest}" if each.nearest else "") for each in plan.impossible
    }
    return [RunState(name, "run", "impossible", reason) for name, reason in reasons.items()]


def states_record(plan: StudyPlan, states: Mapping[str, RunState]) -> dict[str, Any]:
    """For JSON."""
    everything = [*states.values(), *impossible_states(plan)]
    return {
        "study": plan.name,
        "totals": totals(everything),
        "seconds_left": study_seconds_left(plan, states),
        "runs": [vars(state) for state in everything],
    }
