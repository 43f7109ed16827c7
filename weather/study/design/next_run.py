"""The next run of a study: one size at a budget beyond the grid, which leaves the size's trunk where that has ended."""

from __future__ import annotations

import dataclasses
from typing import Any

from weather.errors import ConfigError
from weather.study.design.costing import prepare_run
from weather.study.design.description import StudyDescription
from weather.study.design.plan import base_config, plan_study, planned_run
from weather.study.design.sizes import Size, nearest_size
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, StudyPlan
from weather.training.budget import RunLength
from weather.training.schedule import cooldown_steps

NEXT = "next"  # label of such a run


def size_nearest_to(description: StudyDescription, parameters: float) -> Size:
    """The model of the family whose N is nearest to that, whether the grid has it or not."""
    return nearest_size(description.family, parameters, prepare_run(base_config(description)).config)


def plan_next_run(
    plan: StudyPlan, description: StudyDescription, folder: StudyFolder, *, budget: float, parameters: float
) -> PlannedRun:
    """The run of a budget whose size is nearest to N; one that is planned already is given as it is.

    Where the size has a trunk, the run branches off its last checkpoint and goes on at the constant rate until its own
    cooldown begins: it is to the bit the run that would have been trained alone.

    Args:
        plan: of the study as it stands.
        budget: FLOPs, more than the trunk has spent.
        parameters: N that is wanted.

    Raises:
        ConfigError: the run cannot be.
    """
    size, seed = size_nearest_to(description, parameters), description.seeds[0]
    name = f"{size.label}-c{budget:.4g}-seed{seed}"
    if any(run.name == name for run in plan.runs):
        return plan.run(name)
    labels: dict[str, Any] = {"size": size.label, "seed": seed, "budget": budget, NEXT: True}
    trunk = next((run for run in plan.runs if run.role == "trunk" and _is_of(run, size, seed)), None)
    steps = int(budget // (size.sample_flops * plan.runs[0].config.training.batch_size))
    leaves = steps - cooldown_steps(steps, description.schedule.cooldown_fraction)
    if trunk is None or leaves < trunk.cost.steps:
        return _alone(plan, description, folder, size, budget, name, labels)
    steps_per_epoch = trunk.cost.unique_samples // trunk.config.training.batch_size
    checkpoint = RunLength(trunk.cost.steps, steps_per_epoch, "max_steps", 0).checkpoint_name(trunk.cost.steps)
    config = trunk.config.replace(
        {
            "training.schedule": "wsd",
            "training.cooldown_fraction": description.schedule.cooldown_fraction,
            "training.flops_budget": budget,
            "training.max_steps": None,
            "training.save_at_steps": [],
            "training.epochs": steps // steps_per_epoch + 1,
            "training.branch_from": str(folder.checkpoint_dir.absolute() / trunk.name / checkpoint),
        }
    )
    return _possible(planned_run(config, name, labels, description, folder, ("branch", trunk.name, trunk.cost.steps)))


def with_next_runs(plan: StudyPlan, old: StudyPlan) -> StudyPlan:
    """A plan that was made anew, with the next runs that an older one has beyond the grid.

    One that the grid has come to include stays as it was planned first.
    """
    kept = {run.name: run for run in old.runs if run.labels.get(NEXT)}
    runs = [kept.pop(run.name, run) for run in plan.runs]
    return dataclasses.replace(plan, runs=(*runs, *kept.values()))


def _is_of(run: PlannedRun, size: Size, seed: int) -> bool:
    return run.labels.get("size") == size.label and run.labels.get("seed") == seed


def _alone(
    plan: StudyPlan,
    description: StudyDescription,
    folder: StudyFolder,
    size: Size,
    budget: float,
    name: str,
    labels: dict[str, Any],
) -> PlannedRun:
    """A run from its own start, as an independent study of this one size and budget would plan it."""
    family = description.family.model_copy(
        update={"widths": [size.width], "parameters": None, "count": None, "within": None}
    )
    changes = {"family": family, "budgets": [budget], "seeds": description.seeds[:1], "independent": True}
    narrow = plan_study(description.model_copy(update=changes), folder)
    run = _possible(*narrow.runs, *narrow.impossible)
    return dataclasses.replace(run, labels=labels, name=name)


def _possible(*found: PlannedRun | ImpossibleRun) -> PlannedRun:
    run = found[0]
    if isinstance(run, ImpossibleRun):
        raise ConfigError(f"run '{run.name}' cannot be: {run.reason}", fix=run.nearest)
    return run
