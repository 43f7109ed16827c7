"""What a log of a conductor is told, where there is no terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.study.execution.small_study import SmallStudy
from weather.study.execution import board
from weather.study.execution.state import RunState
from weather.study.planned import StudyPlan


def test_a_log_is_told_how_far_everything_is_however_often_runs_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallStudy(tmp_path)
    small.add_trunk("t", 20, {"b": (6, 9)})
    shown = board.Board(StudyPlan("small", "budgets", {}, tuple(small.runs)))
    seconds = shown._totals_said
    for step in range(5):
        monkeypatch.setattr(board.time, "monotonic", lambda now=seconds: now)
        change = "ready" if step % 2 else "stopped"
        running = RunState("t", "trunk", "running", step=step, total=20, samples_per_second=8.0, seconds_left=125.0)
        shown.show({"t": running, "b": RunState("b", "branch", change)})
        seconds += 0.6 * board.SECONDS_BETWEEN_TOTALS
    lines = capsys.readouterr().out.splitlines()
    totals = [line for line in lines if line.startswith("2 runs: ")]
    assert len(totals) == 2 and all("left (t " in line for line in totals)
    assert len(lines) == len(totals) + 4  # and a line for each change
