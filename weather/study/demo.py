"""A whole study in minutes: archive, plan, training, laws, a run that is foretold before it is trained, the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.config.files import find_config_file
from weather.data.synthetic import create_test_data
from weather.errors import EXIT_COMPLETE
from weather.runtime.progress import progress_bar
from weather.study.design.description import StudyDescription
from weather.study.design.plan_text import plan_lines
from weather.study.design.planning import make_plan, write_plan
from weather.study.design.study_file import read_description
from weather.study.execution.conductor import conduct
from weather.study.execution.contract import Executor
from weather.study.folder import PLAN_FILE, StudyFolder
from weather.study.report.report import write_report
from weather.study.results.collection import RUNS_FILE, collect_study, write_runs
from weather.study.results.next_run import register_next_run, registered_next_run
from weather.study.results.prediction_text import prediction_lines, score_lines
from weather.study.results.scoring import exit_status, score_study
from weather.study.results.verification import verify_study

NEXT = 2.0  # budget of the run that is foretold, over the largest of the grid
#: Winds and heights on a coarse grid: states are small, and a thousand models see each of them once.
ARCHIVE: dict[str, Any] = {
    "height": 16,
    "width": 32,
    "channels": ("z500", "t500", "u250", "v250"),
    "truncation": 15,
    "states_per_year": None,
}


@dataclass(frozen=True)
class Demo:
    """A study and its archive.

    Attributes:
        study: its file in configs/studies.
        train_years: of synthetic weather.
        leads: hours, at which forecasts are verified.
    """

    study: str
    train_years: int
    leads: tuple[float, ...]


FULL = Demo("demo.yaml", 44, (6.0, 24.0, 72.0))
SMALL = Demo("demo_small.yaml", 12, (6.0, 24.0))


def demo_description(demo: Demo, data_dir: Path | None) -> StudyDescription:
    """The demo's study, on the archive in `data_dir` (None: where its file says)."""
    studies = find_config_file(None).parent / "studies"
    description = read_description(studies / demo.study)
    if data_dir is None:
        return description
    overrides = {**description.overrides, "data.data_dir": str(data_dir)}
    return description.model_copy(update={"overrides": overrides})


def run_demo(
    demo: Demo,
    experiments: Path,
    data_dir: Path | None,
    executor: Executor,
    *,
    command: str,
    device: str = "auto",
    retry: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Bring the demo to its end; what is done already is kept.

    Args:
        experiments: folder of all studies.
        data_dir: of the archive.
        command: that asked for it, for the report.
        device: that verifies, as of `weather.evaluate`.
        retry: start failed runs again.
        say: told what is done, line by line.

    Returns:
        0; 3 if the run came out where it was not foretold; that of `conduct` where training did not come to its end.

    Raises:
        WeatherError: the archive or the folders cannot be written, or the runs cannot be fitted.
    """
    description = demo_description(demo, data_dir)
    archive = Path(description.overrides["data.data_dir"])
    say(f"== archive: {demo.train_years} years of synthetic weather in {archive}")
    with progress_bar("simulating weather", unit="days") as progress:
        create_test_data(archive, **ARCHIVE, train_years=demo.train_years, progress=progress)

    folder = StudyFolder(experiments / description.name)
    plan = make_plan(description, folder)
    write_plan(plan, folder)
    say(f"== plan: {folder.path / PLAN_FILE}")
    for line in plan_lines(plan, ""):
        say(line)

    say("== training of the grid")
    status = conduct(folder, executor, retry=retry)
    if status != EXIT_COMPLETE:
        return status

    budget = NEXT * max(description.budget_list())
    say(f"== the next run, of {budget:.4g} FLOPs, foretold before it is trained")
    path = registered_next_run(folder, budget)
    if path is None:
        found = register_next_run(folder, budget=budget)
        for line in prediction_lines(found.table, found.prediction):
            say(line)
        path = found.registered
    say(f"registered in {path}")

    say("== training of the next run")
    status = conduct(folder, executor, retry=retry)
    if status != EXIT_COMPLETE:
        return status
    scores = score_study(folder)
    for line in score_lines(scores):
        say(line)

    say("== verification of the forecasts")
    verify_study(folder, leads=demo.leads, split="test", checkpoint="last", device=device, batch_size=32, report=say)

    say("== report")
    write_runs(folder.path / RUNS_FILE, collect_study(folder))
    report = write_report(folder, folder.path / "report", command=command, flops=NEXT * budget)
    say(f"{report.page}: open it in a browser")
    return exit_status(scores)
