"""From a description to the runs of a study: sizes x budgets x seeds, as trunks and branches or each on its own.

A trunk trains at a constant rate, as far as the last of its branches leaves it. A branch leaves it where its cooldown
begins, and ends on its budget: it is to the bit the run that `schedule: wsd` alone would have been.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.config.files import load_config
from weather.config.schema import SECTION_OF_KEY
from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError, WeatherError
from weather.study.design.costing import cost_run, prepare_run
from weather.study.design.description import StudyDescription
from weather.study.design.flags import budget_remarks, run_flags
from weather.study.design.rates import PeakRate
from weather.study.design.sizes import Expectation, Size, family_sizes
from weather.study.design.totals import remark_on_trunks
from weather.study.folder import StudyFolder
from weather.study.planned import ImpossibleRun, PlannedRun, Role, StudyPlan
from weather.training.budget import RunLength
from weather.training.schedule import cooldown_steps

#: What the plan decides, with the part of the description that says it.
DECIDED = {
    **dict.fromkeys(("model.embed_dim", "model.num_layers", "model.num_heads"), "family"),
    **dict.fromkeys(("training.flops_budget", "training.max_steps", "training.epochs"), "budgets"),
    "training.time_budget_hours": "budgets",
    "training.seed": "seeds",
    **dict.fromkeys(("training.schedule", "training.cooldown_fraction"), "schedule"),
    **dict.fromkeys(("training.warmup_steps", "training.learning_rate"), "schedule"),
    "training.strategy": "placement",
    **dict.fromkeys(("training.save_at_steps", "training.branch_from", "training.eval_frequency"), "the plan itself"),
    **dict.fromkeys(
        ("training.save_frequency", "training.checkpoint_dir", "training.max_checkpoints"), "the plan itself"
    ),
    **dict.fromkeys(("experiment.name", "experiment.runs_dir"), "the plan itself"),
}
#: A run of a study is evaluated at its end only, and keeps what a restart needs and no more.
SPARE: dict[str, Any] = {
    "training.eval_frequency": 0,
    "training.save_frequency": 0,
    "training.max_checkpoints": 1,
    "training.max_steps": None,
    "training.time_budget_hours": None,
    "training.flops_budget": None,
    "training.branch_from": None,
    "training.save_at_steps": [],
}


@dataclass(frozen=True)
class End:
    """Where a budget ends a run of one size.

    Attributes:
        steps: of the whole run.
        leaves: steps before its cooldown, at which a branch leaves the trunk.
    """

    budget: float
    steps: int
    leaves: int


def plan_study(description: StudyDescription, folder: StudyFolder) -> StudyPlan:
    """Every run of the study, checked against the archive and costed; nothing is written.

    Args:
        folder: of the study, where its runs and checkpoints will lie.

    Raises:
        WeatherError: the description cannot be planned at all.
    """
    return _Planner(description, folder).plan()


class _Planner:
    def __init__(self, description: StudyDescription, folder: StudyFolder) -> None:
        self.description, self.folder = description, folder
        self.base = base_config(description)
        prepared = prepare_run(self.base)
        self.base, self.steps_per_epoch = prepared.config, prepared.length.steps_per_epoch
        self.rate = PeakRate(description.schedule, folder.path)
        self.sizes = family_sizes(description.family, self.base)
        self.expectation = Expectation(description.expected)
        self.runs: list[PlannedRun] = []
        self.impossible: list[ImpossibleRun] = []

    def plan(self) -> StudyPlan:
        description = self.description
        spent = {
            budget: self.expectation.near(self.sizes, budget, description.family.within)
            for budget in description.budget_list()
        }
        for size in self.sizes:
            budgets = [budget for budget, sizes in spent.items() if size in sizes]
            for seed in description.seeds:
                self._plan_size(size, budgets, seed)
        plan = StudyPlan(
            name=description.name,
            kind="budgets",
            request=description.model_dump(mode="json", by_alias=True),
            runs=tuple(self.runs),
            impossible=tuple(self.impossible),
        )
        remarks = (*budget_remarks(spent, self.expectation), *self._remark_on_sizes(), *remark_on_trunks(plan))
        return dataclasses.replace(plan, remarks=remarks)

    def _remark_on_sizes(self) -> list[str]:
        wanted = self.description.family.count
        if wanted is None or len(self.sizes) == wanted:
            return []
        return [
            f"{len(self.sizes)} sizes instead of {wanted}: widths are multiples of head_dim "
            f"{self.description.family.head_dim}, and several of the sizes have the same nearest width"
        ]

    def _plan_size(self, size: Size, budgets: list[float], seed: int) -> None:
        """Trunk and branches, or runs, of one size and seed."""
        ends = self._ends(size, budgets, seed)
        if not ends:
            return
        shared = {
            **SPARE,
            **size.settings(),
            "training.seed": seed,
            "training.learning_rate": self.rate(size.parameters),
            "training.warmup_steps": self._warmup(ends[0]),
        }
        labels = {"size": size.label, "seed": seed}
        trunk = "" if self.description.independent else f"{size.label}-trunk-seed{seed}"
        if trunk:
            last = max(end.leaves for end in ends)
            self._add(
                trunk,
                {
                    **shared,
                    "training.schedule": "constant",
                    "training.max_steps": last,
                    "training.save_at_steps": sorted({end.leaves for end in ends}),
                    "training.epochs": last // self.steps_per_epoch + 1,
                },
                labels,
                "trunk",
            )
        for end in ends:
            values = {
                **shared,
                "training.schedule": "wsd",
                "training.cooldown_fraction": self.description.schedule.cooldown_fraction,
                "training.flops_budget": end.budget,
                "training.epochs": end.steps // self.steps_per_epoch + 1,
            }
            name, role, first = self._name(size, end.budget, seed), "run", 0
            if trunk:
                role, first = "branch", end.leaves
                values["training.branch_from"] = str(self._checkpoint(trunk, first))
            else:
                values["training.warmup_steps"] = self._warmup(end)
            self._add(name, values, {**labels, "budget": end.budget}, role, trunk or None, first)  # type: ignore[arg-type]

    def _ends(self, size: Size, budgets: list[float], seed: int) -> list[End]:
        """Of each budget that pays for a run with at least one step at its peak rate."""
        ends = []
        flops_per_step = size.sample_flops * self.base.training.batch_size
        for budget in budgets:
            steps = int(budget // flops_per_step)
            leaves = steps - cooldown_steps(steps, self.description.schedule.cooldown_fraction)
            if leaves >= 1:
                ends.append(End(budget, steps, leaves))
                continue
            self.impossible.append(
                ImpossibleRun(
                    self._name(size, budget, seed),
                    {"size": size.label, "seed": seed, "budget": budget},
                    f"{budget:.4g} FLOPs pay for {steps} step(s) of {flops_per_step:.4g}",
                    "a larger budget, a smaller size, or a smaller training.batch_size",
                )
            )
        return ends

    def _warmup(self, end: End) -> int:
        schedule = self.description.schedule
        if schedule.warmup_steps is not None:
            return schedule.warmup_steps
        assert schedule.warmup_share is not None
        return round(schedule.warmup_share * end.steps)

    def _name(self, size: Size, budget: float, seed: int) -> str:
        return f"{size.label}-c{budget:.4g}-seed{seed}"

    def _checkpoint(self, trunk: str, step: int) -> Path:
        length = RunLength(step, self.steps_per_epoch, "max_steps", 0)
        return self.folder.checkpoint_dir.absolute() / trunk / length.checkpoint_name(step)

    def _add(
        self,
        name: str,
        values: dict[str, Any],
        labels: dict[str, Any],
        role: Role,
        trunk: str | None = None,
        first_step: int = 0,
    ) -> None:
        found = planned_run(
            self.base.replace(values), name, labels, self.description, self.folder, (role, trunk, first_step)
        )
        if isinstance(found, PlannedRun):
            self.runs.append(found)
        else:
            self.impossible.append(found)


def planned_run(
    config: ConfigWrapper,
    name: str,
    labels: dict[str, Any],
    description: StudyDescription,
    folder: StudyFolder,
    place: tuple[Role, str | None, int] = ("run", None, 0),
) -> PlannedRun | ImpossibleRun:
    """A run of the study with its cost and flags, or why it cannot be.

    Args:
        place: role, trunk, and the trunk's step that it leaves at.
    """
    placement = description.placement
    try:
        placed, cost = cost_run(folder.placed(config, name), ranks=description.ranks, device=placement.device)
    except WeatherError as error:
        return ImpossibleRun(name, labels, str(error))
    run = PlannedRun(name, placed, cost, labels, *place, placement.num_nodes, placement.devices)
    return run_flags(run, description)


def base_config(description: StudyDescription) -> ConfigWrapper:
    """What all runs have in common.

    Raises:
        ConfigError: no such config; an override that the plan decides, or that is unknown.
    """
    base = load_config(description.base.config, description.base.config_name)
    full = {key: f"{section}.{key}" for key, section in SECTION_OF_KEY.items()}
    overrides = {full.get(key, key): value for key, value in description.overrides.items()}
    for key in overrides:
        if key in DECIDED:
            raise ConfigError(
                f"overrides: {key}",
                where=f"study '{description.name}'",
                rule=f"a study's plan decides it, by its {DECIDED[key].removeprefix('its ')}",
                fix="leave it out",
            )
    return base.replace({**overrides, **SPARE, "training.strategy": description.placement.strategy})
