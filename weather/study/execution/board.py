"""What a conductor shows: on a terminal a table that lives, elsewhere a line for each change."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from weather.study.execution.state import RunState
from weather.study.execution.table import COLOURS, loss_of, state_table, step_of, study_seconds_left, totals_line
from weather.study.planned import StudyPlan

SECONDS_BETWEEN_TOTALS = 60.0  # lines that say how far everything is, where there is no terminal
ROWS_BESIDE_TABLE = 8  # of a terminal: title, head, totals, lines between


class Board:
    """Shows the states of a study until it is left.

    Args:
        plan: of the study.
    """

    def __init__(self, plan: StudyPlan) -> None:
        from rich.console import Console

        self.plan = plan
        self.console = Console()
        self._live: Any = None
        self._before: dict[str, RunState] = {}
        self._totals_said = time.monotonic()

    def __enter__(self) -> Board:
        if self.console.is_terminal:
            from rich.live import Live

            # Without a thread of its own: processes are forked from here.
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, text: str) -> None:
        """A line that stays."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def show(self, states: Mapping[str, RunState]) -> None:
        """What the runs are at now."""
        left = study_seconds_left(self.plan, states)
        if self._live is not None:
            self._live.update(self._picture(states, left), refresh=True)
            return
        for name, state in states.items():
            before = self._before.get(name)
            if before is not None and before.state != state.state and state.state != "running":
                self.say(change_line(state))
        self._before = dict(states)
        if time.monotonic() - self._totals_said > SECONDS_BETWEEN_TOTALS:
            self._totals_said = time.monotonic()
            running = ", ".join(f"{s.name} {step_of(s)}" for s in states.values() if s.state == "running")
            self.say(f"{totals_line(list(states.values()), left)} ({running})")

    def _picture(self, states: Mapping[str, RunState], left: float | None) -> Any:
        """The runs that matter most first, as many as the terminal has rows for."""
        from rich.console import Group
        from rich.text import Text

        order = list(COLOURS)
        rows = sorted(states.values(), key=lambda state: order.index(state.state))
        fit = max(1, self.console.height - ROWS_BESIDE_TABLE)
        more = f" ({len(rows) - fit} more not shown)" if len(rows) > fit else ""
        table = state_table(f"study {self.plan.name}", rows[:fit])
        return Group(table, Text(totals_line(list(states.values()), left) + more))


def change_line(state: RunState) -> str:
    """Such as: w64-c3: finished at step 20/20, loss 0.1234."""
    facts = [f"{state.name}: {state.state}"]
    if state.step:
        facts[0] += f" at step {step_of(state)}"
    if state.state == "finished":
        facts.append(f"loss {loss_of(state)}")
    if state.reason:
        facts.append(state.reason)
    return ", ".join(facts)


def failures(states: Iterable[RunState]) -> list[str]:
    """A line for each run that has not come to its end for a reason of its own."""
    return [change_line(state) for state in states if state.state in ("failed", "impossible", "waiting")]
