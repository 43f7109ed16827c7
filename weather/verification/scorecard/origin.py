"""Of what scores are: the run, its checkpoint, the archive and the initial times."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from weather.verification.leads import describe_lead
from weather.verification.scores import Scores


@dataclass(frozen=True)
class Other:
    """Another run that was verified beside this one; see `Origin`."""

    run: str
    checkpoint: str
    step: int
    model_lead_hours: float

    def describe(self) -> str:
        """Its checkpoint and its lead."""
        return f"{self.checkpoint}, step {self.step}, forecasts of {describe_lead(self.model_lead_hours)}"


@dataclass(frozen=True)
class Origin:
    """Where scores come from.

    Attributes:
        run, checkpoint: names; step: that the checkpoint was trained to.
        archive: path; split: of it.
        model_lead_hours: that one forecast covers.
        command: that verified; commit: of the code, or None.
        others: runs beside it, by the names of their scores.
        warnings: what a reader has to know besides.
    """

    run: str
    checkpoint: str
    step: int
    archive: str
    split: str
    model_lead_hours: float
    command: str
    commit: str | None
    others: Mapping[str, Other] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def describe(self) -> str:
        """The run, its checkpoint, and the split."""
        return f"{self.run}, {self.checkpoint}, step {self.step}, split '{self.split}'"

    def record(self, scores: Scores) -> dict[str, Any]:
        """As JSON has it, with the units of channels and what became of the forecasts by lead."""
        times = scores.initial_times
        return {
            "run": self.run,
            "checkpoint": self.checkpoint,
            "step": self.step,
            "archive": self.archive,
            "split": self.split,
            "model_lead_hours": self.model_lead_hours,
            "samples": scores.samples,
            "first_initial_time": None if times is None else str(times.min()),
            "last_initial_time": None if times is None else str(times.max()),
            "blown_up": _blown_up(scores, scores.sources[0]),
            "units": dict(zip(scores.channels, scores.units, strict=True)),
            "climatology": scores.climatology,
            "others": {
                name: {**dataclasses.asdict(other), "blown_up": _blown_up(scores, name)}
                for name, other in self.others.items()
            },
            "command": self.command,
            "commit": self.commit,
        }


def _blown_up(scores: Scores, source: str) -> dict[str, int]:
    """How many forecasts of a source are not finite, by lead hours."""
    numbers = scores.blown_up[scores.sources.index(source)]
    return {f"{lead:g}": int(number) for lead, number in zip(scores.lead_hours, numbers, strict=True)}
