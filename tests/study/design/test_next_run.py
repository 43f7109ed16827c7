"""The run beyond the grid: it goes on from its size's trunk, or stands alone, and survives a new plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import WrittenArchive
from tests.study.design.studies import description
from weather.errors import ConfigError
from weather.study.design.description import StudyDescription
from weather.study.design.next_run import NEXT, plan_next_run, size_nearest_to, with_next_runs
from weather.study.design.plan import plan_study
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun, StudyPlan
from weather.training.schedule import learning_rate


@pytest.fixture
def study(make_archive: Callable[..., WrittenArchive]) -> StudyDescription:
    return description(make_archive(grid=(8, 16)))


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "experiments" / "one")


@pytest.fixture
def plan(study: StudyDescription, folder: StudyFolder) -> StudyPlan:
    return plan_study(study, folder)


def following(plan: StudyPlan, study: StudyDescription, folder: StudyFolder, times: float, size: float) -> PlannedRun:
    """The run of `times` the largest budget, with `size` times the parameters of the grid's largest model."""
    largest = max(run.cost.parameters for run in plan.runs)
    budget = times * max(study.budget_list())
    return plan_next_run(plan, study, folder, budget=budget, parameters=size * largest)


def test_it_goes_on_where_its_trunk_has_ended(plan: StudyPlan, study: StudyDescription, folder: StudyFolder) -> None:
    run = following(plan, study, folder, 2.0, 1.01)
    trunk = plan.run(str(run.trunk))
    assert (run.role, run.first_step, run.labels[NEXT]) == ("branch", trunk.cost.steps, True)
    assert run.config.model == trunk.config.model
    assert run.config.training.branch_from.endswith(f"{trunk.name}/checkpoint_step_{trunk.cost.steps}")
    steps, training = run.cost.steps, run.config.training
    assert 0 <= run.labels["budget"] - run.cost.flops < run.cost.flops // steps
    # Until its own cooldown begins it is the trunk, longer.
    rates = [learning_rate(step, steps, training) for step in range(steps)]
    held = [learning_rate(step, trunk.cost.steps, trunk.config.training) for step in range(trunk.cost.steps)]
    assert rates[: trunk.cost.steps] == held
    assert rates[-1] < 0.5 * training.learning_rate


def test_a_size_without_a_trunk_stands_alone(plan: StudyPlan, study: StudyDescription, folder: StudyFolder) -> None:
    run = following(plan, study, folder, 2.0, 4.0)
    assert (run.role, run.trunk, run.first_step) == ("run", None, 0)
    assert run.config.training.branch_from is None and run.labels[NEXT] is True
    assert run.cost.parameters == size_nearest_to(study, 4.0 * max(r.cost.parameters for r in plan.runs)).parameters
    assert run.name not in [other.name for other in plan.runs]


def test_a_trunk_that_has_come_too_far_is_no_start(
    plan: StudyPlan, study: StudyDescription, folder: StudyFolder
) -> None:
    """Its last checkpoint lies within the run's cooldown."""
    assert following(plan, study, folder, 1.05, 1.01).role == "branch"
    trunks = [run for run in plan.runs if run.role == "trunk"]
    longer = [dataclasses.replace(t, cost=dataclasses.replace(t.cost, steps=10 * t.cost.steps)) for t in trunks]
    assert following(dataclasses.replace(plan, runs=tuple(longer)), study, folder, 1.05, 1.01).role == "run"


def test_planned_again_it_is_the_same_and_stays(plan: StudyPlan, study: StudyDescription, folder: StudyFolder) -> None:
    run = following(plan, study, folder, 2.0, 1.01)
    grown = dataclasses.replace(plan, runs=(*plan.runs, run))
    assert following(grown, study, folder, 2.0, 1.01) is run
    folder.write_plan(grown)
    again = with_next_runs(plan_study(study, folder), folder.read_plan())
    assert again.runs[-1].config.to_dict() == run.config.to_dict()
    larger = study.model_copy(update={"budgets": [*study.budget_list(), run.labels["budget"]]})
    names = [each.name for each in with_next_runs(plan_study(larger, folder), grown).runs]
    assert names.count(run.name) == 1


def test_a_budget_that_pays_for_nothing_is_refused(
    plan: StudyPlan, study: StudyDescription, folder: StudyFolder
) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        plan_next_run(plan, study, folder, budget=1.0, parameters=1e4)
