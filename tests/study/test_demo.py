"""The small demo: a study is killed in the middle, started again, and ends in a scored prediction and a report."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.runs import REPOSITORY, descendants
from tests.study.execution.small_study import wait_until
from weather.study.demo import SMALL, demo_description
from weather.study.execution.records import read_attempts
from weather.study.execution.state import observe
from weather.study.folder import StudyFolder

COMMAND = [sys.executable, "-m", "weather.scaling", "demo", "--small", "--device", "cpu"]
PATIENCE_SECONDS = 400
SURPRISING = 4.0  # standard deviations: far beyond what a prediction may be off


@pytest.fixture
def conductor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    with open(tmp_path / "output", "wb") as output:
        process = subprocess.Popen(COMMAND, cwd=tmp_path, env=environment(), stdout=output, stderr=output)
    yield process
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def branches_finished(folder: StudyFolder) -> list[str]:
    if not (folder.path / "plan.json").exists():
        return []
    plan = folder.read_plan()
    states = observe(folder, plan)
    return [run.name for run in plan.runs if run.role == "branch" and states[run.name].state == "finished"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_middle_it_comes_to_its_end(tmp_path: Path, conductor: subprocess.Popen[bytes]) -> None:
    folder = StudyFolder(tmp_path / "experiments" / "demo_small")
    wait_until(lambda: bool(branches_finished(folder)) or conductor.poll() is not None, PATIENCE_SECONDS)
    assert conductor.poll() is None, (tmp_path / "output").read_text()
    conductor.kill()
    conductor.wait()
    kept = branches_finished(folder)
    attempts = {name: read_attempts(folder, name) for name in kept}
    done = subprocess.run(
        COMMAND, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode in (0, 3), done.stdout + done.stderr
    assert {name: read_attempts(folder, name) for name in kept} == attempts, "what was finished is not trained again"

    plan = folder.read_plan()
    grid = [run for run in plan.runs if not run.labels.get("next")]
    (following,) = (run for run in plan.runs if run.labels.get("next"))
    budgets = demo_description(SMALL, None).budget_list()
    assert {run.labels["budget"] for run in grid if run.role == "branch"} == {*budgets}
    assert following.cost.flops <= 2 * budgets[-1] < following.cost.flops * (1 + 1 / following.cost.steps) + 1
    assert {state.state for state in observe(folder, plan).values()} == {"finished"}

    registered = folder.path / "predictions" / f"{following.name}.json"
    prediction = json.loads(registered.read_text())
    score = json.loads((folder.path / "predictions" / f"{following.name}.score.json").read_text())
    assert prediction["blind"] and registered.stat().st_mtime <= read_attempts(folder, following.name)[0].started
    assert following.name not in prediction["fitted"] and len(prediction["fitted"]) == len(budgets) * 3 + 1
    assert score["inside"] is (done.returncode == 0)
    # Weather is chaotic and rounding differs between machines, so that losses do; but not by much.
    assert abs(score["deviations"]) < SURPRISING
    page = (folder.path / "report" / "report.html").read_text()
    assert following.name in page
    assert (folder.path / "report" / "isoflop_curves.png").exists()
    assert (folder.path / "report" / "channel_maps.png").exists()
