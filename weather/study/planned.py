"""What a study is made of: runs that are to be trained, each with its config, its cost and its place in the study."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from weather.config.wrapper import ConfigWrapper

#: A `trunk` trains at a constant rate; a `branch` leaves it at one of its checkpoints and cools down; a `run` is alone.
Role = Literal["run", "trunk", "branch"]


@dataclass(frozen=True)
class RunCost:
    """What a run will have cost at its end; of a branch, what the same run would cost alone.

    Attributes:
        parameters, non_embedding_parameters: N, with and without patch embedding and positions.
        tokens_per_sample: tokens that the model sees in a sample.
        samples: D, seen in training, repeated ones counted each time.
        unique_samples: different training samples that the archive has for it.
        steps: optimizer steps.
        flops: C, analytic, of all steps.
        memory_bytes: estimate of the peak on one rank; None where there is none.
        storage_bytes: of the checkpoints that stay; None where there is no estimate.
        seconds: expected duration of the steps that the run makes itself; None where no rate is known.
    """

    parameters: int
    non_embedding_parameters: int
    tokens_per_sample: int
    samples: int
    unique_samples: int
    steps: int
    flops: int
    memory_bytes: int | None = None
    storage_bytes: int | None = None
    seconds: float | None = None

    @property
    def epochs(self) -> float:
        return self.samples / self.unique_samples


@dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
        name: of the run, of its config and of its folders.
        config: resolved, with the study's folders.
        cost: at its end.
        labels: what the study varies, such as {"factor": "model", "scale": 2.0} or {"size": "w64", "budget": 1e15}.
        role: alone, trunk or branch.
        trunk: of a branch, the name of the run that it leaves.
        first_step: of a branch, the trunk's step that it leaves at.
        num_nodes, devices: nodes, and ranks on each.
        flags: what the plan remarks about it.
    """

    name: str
    config: ConfigWrapper
    cost: RunCost
    labels: dict[str, Any]
    role: Role = "run"
    trunk: str | None = None
    first_step: int = 0
    num_nodes: int = 1
    devices: int = 1
    flags: tuple[str, ...] = ()

    @property
    def own_flops(self) -> int:
        """FLOPs of the steps that it makes itself."""
        return self.cost.flops // self.cost.steps * (self.cost.steps - self.first_step)


@dataclass(frozen=True)
class ImpossibleRun:
    """A run that was asked for and cannot be.

    Attributes:
        labels: as of a `PlannedRun`.
        reason: what stands against it.
        nearest: what could be done instead.
    """

    name: str
    labels: dict[str, Any]
    reason: str
    nearest: str = ""


@dataclass(frozen=True)
class StudyPlan:
    """All runs of a study, trunks before their branches.

    Attributes:
        name: of the study and of its folder.
        kind: `factors` varies one thing at a time, `budgets` asks for the best use of FLOPs.
        request: what the study was derived from, as plain data.
        remarks: about the plan as a whole.
    """

    name: str
    kind: Literal["factors", "budgets"]
    request: dict[str, Any]
    runs: tuple[PlannedRun, ...]
    impossible: tuple[ImpossibleRun, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    def run(self, name: str) -> PlannedRun:
        """The run of that name, which must be one of them."""
        return next(run for run in self.runs if run.name == name)
