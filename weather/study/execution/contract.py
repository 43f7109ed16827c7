"""What an executor is: it starts runs, knows which of them it has, and ends them or lets them go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from weather.errors import ConfigError
from weather.study.folder import StudyFolder
from weather.study.planned import PlannedRun

#: What an executor has of a run; a run that it no longer has is over.
Held = Literal["running", "queued"]


@dataclass(frozen=True)
class TrainOptions:
    """What the command line of a study says about each of its runs.

    Attributes:
        devices: ranks on each node, instead of the plan's.
        strategy: instead of the config's.
        device: auto, cuda, rocm, mps or cpu.
    """

    devices: int | None = None
    strategy: str | None = None
    device: str = "auto"

    def ranks(self, run: PlannedRun) -> int:
        """Ranks of a run on each of its nodes.

        Raises:
            ConfigError: several, with a strategy for one.
        """
        ranks = self.devices or run.devices
        if ranks * run.num_nodes > 1 and (self.strategy or run.config.training.strategy) == "single":
            raise ConfigError(
                f"run '{run.name}' has {ranks * run.num_nodes} ranks with strategy 'single'",
                rule="several ranks need a parallel strategy",
                fix="add --strategy ddp (or fsdp, deepspeed), or --devices 1",
            )
        return ranks

    def words(self) -> list[str]:
        """Of the command line of `weather.train`."""
        device = [] if self.device == "auto" else ["--device", self.device]
        return [*device, *(["--strategy", self.strategy] if self.strategy else [])]


class Executor(Protocol):
    """Where runs are trained.

    Attributes:
        outlives: whether its runs go on when the conductor ends.
        chains: whether it takes branches whose trunk it has taken, and starts them in time by itself.
        poll_seconds: between two looks.
    """

    outlives: bool
    chains: bool
    poll_seconds: float

    def open(self, folder: StudyFolder, runs: Sequence[PlannedRun]) -> None:
        """Before anything else: learn what there is to train.

        Raises:
            WeatherError: this executor cannot serve here.
        """

    def cannot(self, run: PlannedRun) -> str:
        """Why it can never train this run; empty if it can."""

    def look(self) -> Mapping[str, Held]:
        """The runs that it has; the ends of others are recorded before they are gone from here."""

    def start(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> dict[str, str]:
        """Start as many as there is room for, in this order; gives the names of those, and how each was started.

        Args:
            waiting: names of those that must wait for their trunk; none, unless it `chains`.
        """

    def stop(self) -> None:
        """Ask all runs to save and end; only where they do not outlive the conductor."""

    def lines(self, runs: Sequence[PlannedRun], waiting: Collection[str]) -> list[str]:
        """The commands that would start these, as for a shell."""
