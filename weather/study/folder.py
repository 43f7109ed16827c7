"""The folder of a study: its plan, a config a run, their runs and checkpoints, and all that is made of them.

``experiments/<study>/plan.json`` is written last, so that a folder with a plan has all of its configs.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from weather.config.files import load_config
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, DataError
from weather.presentation.writing import write_whole
from weather.runtime.run_folder import METRICS_FILE
from weather.study.planned import ImpossibleRun, PlannedRun, Role, RunCost, StudyPlan

EXPERIMENTS = Path("experiments")
PLAN_FILE = "plan.json"
REPLAN = "move it away and plan again; what is trained stays"
COST, ROLE = TypeAdapter(RunCost), TypeAdapter(Role)  # a plan may have been edited
#: What may change in a run that has begun: it decides neither what is learned nor where the run ends.
FREE_KEYS = (
    *(f"training.{key}" for key in ("log_frequency", "save_every_steps", "save_every_minutes", "max_checkpoints")),
    *("training.asynchronous_checkpoints", "training.collective_timeout_minutes", "data.num_workers"),
    *("logging.use_wandb", "logging.wandb_mode", "logging.wandb_project", "experiment.description"),
)


@dataclass(frozen=True)
class StudyFolder:
    """Where everything of a study lies.

    Attributes:
        path: ``experiments/<study>``.
    """

    path: Path

    @property
    def runs_dir(self) -> Path:
        return self.path / "runs"

    @property
    def checkpoint_dir(self) -> Path:
        return self.path / "checkpoints"

    def config_file(self, name: str) -> Path:
        """YAML file that holds the config of a run under the run's name."""
        return self.path / "configs" / f"{name}.yaml"

    def log_file(self, name: str) -> Path:
        """What the processes of a run have printed."""
        return self.path / "logs" / f"{name}.log"

    def run(self, name: str) -> Path:
        """Folder of a run: config.yaml, metrics.jsonl, environment.json."""
        return self.runs_dir / name

    def has_begun(self, name: str) -> bool:
        return (self.run(name) / METRICS_FILE).exists()

    def placed(self, config: ConfigWrapper, name: str) -> ConfigWrapper:
        """A config whose run is called `name` and lies in this study."""
        return config.replace(
            {
                "experiment.name": name,
                "experiment.runs_dir": str(self.runs_dir.absolute()),
                "training.checkpoint_dir": str(self.checkpoint_dir.absolute()),
            }
        )

    def write_plan(self, plan: StudyPlan) -> None:
        """Write the plan and all configs; what has begun stays what it is.

        Raises:
            ConfigError: a run that has begun would be another one, or would no longer be part of the study.
            DataError: the folder cannot be written.
        """
        self._refuse_changes(plan)
        try:
            for run in plan.runs:
                text = yaml.safe_dump({run.name: run.config.to_dict()}, sort_keys=False, allow_unicode=True)
                write_whole(self.config_file(run.name), text)
            write_whole(self.path / PLAN_FILE, json.dumps(_plan_record(plan), indent=1) + "\n")
        except OSError as error:
            raise DataError(f"the plan cannot be written ({error})", where=self.path) from error

    def read_plan(self) -> StudyPlan:
        """The plan that was written.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = self.path / PLAN_FILE
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise DataError(
                "no study here",
                where=self.path,
                rule=f"a study's folder holds {PLAN_FILE}",
                fix=_studies_beside(self.path) or "plan one first: python -m weather.scaling plan STUDY.yaml",
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f"cannot be read ({error})", where=path, fix=REPLAN) from error
        try:
            runs = tuple(
                PlannedRun(
                    **{
                        **run,
                        "config": self._config(run["name"]),
                        "cost": COST.validate_python(run["cost"]),
                        "role": ROLE.validate_python(run["role"]),
                        "flags": tuple(run["flags"]),
                    }
                )
                for run in record["runs"]
            )
            impossible = tuple(ImpossibleRun(**each) for each in record["impossible"])
            lost = (
                {run.trunk for run in runs if run.trunk}
                - {run.name for run in runs}
                - {each.name for each in impossible}
            )
            if lost:
                raise KeyError(f"the trunk {min(lost)}")
            return StudyPlan(
                record["name"], record["kind"], record["request"], runs, impossible, tuple(record["remarks"])
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            key = ".".join(str(part) for part in wrong["loc"]) or "role"
            raise DataError(f"is no plan ({key}: {wrong['msg']})", where=path, fix=REPLAN) from error
        except (KeyError, TypeError) as error:
            raise DataError(f"is no plan ({type(error).__name__}: {error})", where=path, fix=REPLAN) from error

    def _config(self, name: str) -> ConfigWrapper:
        path = self.config_file(name)
        if not path.exists():
            raise DataError(
                f"run '{name}' is planned, and its config {path.name} is missing",
                where=self.path / PLAN_FILE,
                fix=REPLAN,
            )
        return load_config(path, name)

    def _refuse_changes(self, plan: StudyPlan) -> None:
        if not (self.path / PLAN_FILE).exists():
            return
        planned = {run.name: run for run in plan.runs}
        for old in self.read_plan().runs:
            if not self.has_begun(old.name):
                continue
            if old.name not in planned:
                raise ConfigError(
                    f"run '{old.name}' has begun and is no longer planned",
                    where=self.path,
                    rule="a study keeps the runs that it has begun",
                    fix="name another study, or move the run's folders away",
                )
            key, before, now = next(iter(_changes(old, planned[old.name])), ("", None, None))
            if key:
                raise ConfigError(
                    f"run '{old.name}' has begun with {key} = {before!r}, and is now planned with {now!r}",
                    where=self.path,
                    rule="a run stays what it was when it began",
                    fix="restore the value, name another study, or move the run's folders away",
                )


def _changes(old: PlannedRun, new: PlannedRun) -> list[tuple[str, Any, Any]]:
    """(key, before, now) of what must not change; a trunk may grow beyond its end, for its past is the same."""
    before, now = old.config.to_dict(), new.config.to_dict()
    changed = [
        (f"{section}.{key}", value, now[section].get(key))
        for section, values in before.items()
        for key, value in values.items()
        if now[section].get(key) != value and f"{section}.{key}" not in FREE_KEYS
    ]
    if old.role == new.role == "trunk" and new.cost.steps >= old.cost.steps:
        saved = {*before["training"]["save_at_steps"]}
        added = {*now["training"]["save_at_steps"]} - saved
        if all(step > old.cost.steps for step in added):
            growing = ("training.max_steps", "training.save_at_steps", "training.epochs")
            changed = [each for each in changed if each[0] not in growing]
    return changed


def _plan_record(plan: StudyPlan) -> dict[str, Any]:
    runs = []
    for run in plan.runs:
        record = {f.name: getattr(run, f.name) for f in dataclasses.fields(run) if f.name != "config"}
        runs.append({**record, "cost": dataclasses.asdict(run.cost)})
    return {
        "name": plan.name,
        "kind": plan.kind,
        "request": plan.request,
        "remarks": plan.remarks,
        "runs": runs,
        "impossible": [dataclasses.asdict(each) for each in plan.impossible],
    }


def _studies_beside(path: Path) -> str:
    names = sorted(found.parent.name for found in path.parent.glob(f"*/{PLAN_FILE}"))
    return f"there are: {', '.join(names)}" if names else ""
