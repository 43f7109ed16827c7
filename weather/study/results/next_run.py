"""The next run of a study: the best size for a larger budget, planned and foretold before it is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weather.errors import ConfigError
from weather.study.design.description import StudyDescription
from weather.study.design.next_run import NEXT, plan_next_run
from weather.study.fits.foretelling import RunAhead
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan
from weather.study.results.prediction import Prediction, of_planned, predict, predictions_folder
from weather.study.results.registration import read_registered, register
from weather.study.results.study_table import table_of
from weather.study.results.table import Table


@dataclass(frozen=True)
class NextRun:
    """A run that is planned, and what is foretold of it.

    Attributes:
        run: as planned.
        table: that was fitted.
        best: what the laws say of the best use of the budget.
        prediction: of this run, at its exact N and D.
        registered: the file that says so.
    """

    run: PlannedRun
    table: Table
    best: Prediction
    prediction: Prediction
    registered: Path


def registered_next_run(folder: StudyFolder, budget: float) -> Path | None:
    """The registered prediction of the study's next run of a budget, if there is one."""
    for run in folder.read_plan().runs:
        path = predictions_folder(folder.path) / f"{run.name}.json"
        if run.labels.get(NEXT) and run.labels.get("budget") == budget and path.exists():
            return path
    return None


def register_next_run(
    folder: StudyFolder,
    *,
    budget: float,
    most_epochs: float = 1.0,
    level: float = 0.9,
    draws: int = 400,
    seed: int = 0,
    done: Callable[[int, int], None] = lambda fits, of: None,
) -> NextRun:
    """Fit the study, plan the best run of a budget, and register what it will come to.

    Cut short, it can be called again: what is registered stands, and a run that is planned is taken as it is.

    Args:
        budget: FLOPs, more than those of the runs that are fitted.
        most_epochs: as in `read_table`.
        level, draws, seed: of the intervals.
        done: told how far each of the two fits has come, as in `predict`.

    Raises:
        ConfigError: no study of budgets, a budget that is not beyond the grid, or a run that has begun.
        DataError: the runs cannot be fitted.
    """
    plan = folder.read_plan()
    if plan.kind != "budgets":
        raise ConfigError(
            f"study '{plan.name}' varies one factor at a time", where=folder.path, rule="a next run has a larger budget"
        )
    description = StudyDescription.model_validate(plan.request)
    largest = max(description.budget_list())
    if budget <= largest:
        raise ConfigError(
            f"--flops {budget:.4g}", where=folder.path, rule=f"more than the largest budget of the grid, {largest:.4g}"
        )
    table = table_of(folder.path, most_epochs=most_epochs)

    def foretell(ahead: RunAhead, name: str, known: StudyPlan) -> Prediction:
        return predict(table, ahead, name=name, plan=known, level=level, draws=draws, seed=seed, done=done)

    best = foretell(RunAhead(budget), "", plan)
    run = plan_next_run(plan, description, folder, budget=budget, parameters=best.foretold.parameters.estimate)
    grown = _with(plan, run)
    prediction = foretell(of_planned(grown, run.name), run.name, grown)
    # Registered first: a planned run is trained by the next `start`, and must have been foretold by then.
    path = predictions_folder(folder.path) / f"{run.name}.json"
    if grown is not plan and path.exists():
        read_registered(path)  # of a call that was cut short before it planned the run
    else:
        path = register(predictions_folder(folder.path), prediction, table, folder)
    folder.write_plan(grown)
    return NextRun(run, table, best, prediction, path)


def _with(plan: StudyPlan, run: PlannedRun) -> StudyPlan:
    if any(each.name == run.name for each in plan.runs):
        return plan
    return dataclasses.replace(plan, runs=(*plan.runs, run))
