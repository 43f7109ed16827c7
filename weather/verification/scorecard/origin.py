"""Of what scores are: the run, its checkpoint, the archive and the initial times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from weather.verification.scores import Scores


@dataclass(frozen=True)
class Origin:
    """Where scores come from.

    Attributes:
        run, checkpoint: names; step: that the checkpoint was trained to.
        archive: path; split: of it.
        model_lead_hours: that one forecast covers.
        command: that verified; commit: of the code, or None.
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
    warnings: tuple[str, ...] = ()

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
            "blown_up": {
                f"{lead:g}": int(number) for lead, number in zip(scores.lead_hours, scores.blown_up, strict=True)
            },
            "units": dict(zip(scores.channels, scores.units, strict=True)),
            "climatology": scores.climatology,
            "command": self.command,
            "commit": self.commit,
        }
