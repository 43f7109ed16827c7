"""A study planned from its description, for the first time or again."""

from __future__ import annotations

from pathlib import Path

from weather.errors import ConfigError
from weather.presentation.writing import write_whole
from weather.study.design.description import StudyDescription
from weather.study.design.next_run import with_next_runs
from weather.study.design.plan import plan_study
from weather.study.design.plan_text import plan_csv
from weather.study.design.probe import read_probe, with_probe
from weather.study.folder import PLAN_FILE, StudyFolder
from weather.study.planned import StudyPlan

PLAN_TABLE = "plan.csv"


def make_plan(description: StudyDescription, folder: StudyFolder) -> StudyPlan:
    """Every run that is possible, the next runs of an earlier plan among them; timed where the folder has a probe.

    Raises:
        ConfigError: a description that cannot be planned, or no run of it is possible.
    """
    plan = plan_study(description, folder)
    if (folder.path / PLAN_FILE).exists():
        plan = with_next_runs(plan, folder.read_plan())
    if not plan.runs:
        first = plan.impossible[0] if plan.impossible else None
        raise ConfigError(
            "no run of the study is possible",
            where=f"study '{description.name}'",
            rule=f"{first.name}: {first.reason}" if first else "family.within leaves no size for any budget",
            fix=first.nearest if first else "widen family.within, or add sizes",
        )
    return with_probe(plan, read_probe(folder.path))


def write_plan(plan: StudyPlan, folder: StudyFolder) -> Path:
    """Write the plan, its configs and its table; gives the folder's path.

    Raises:
        ConfigError: a run that has begun would be another one.
        DataError: the folder cannot be written.
    """
    folder.write_plan(plan)
    write_whole(folder.path / PLAN_TABLE, plan_csv(plan))
    return folder.path
