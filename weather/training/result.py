"""How a call of the trainer ended."""

from __future__ import annotations

from dataclasses import dataclass

from weather.errors import EXIT_COMPLETE, EXIT_STOPPED

RESUMABLE = ("signal", "walltime")  # stops that leave something to do


@dataclass(frozen=True)
class TrainingResult:
    """How a call of `train` ended.

    Attributes:
        reason: complete | max_steps | flops_budget | time_budget | signal | walltime.
        step: completed steps.
        validation_loss: of the last evaluation, if there was one.
    """

    reason: str
    step: int
    validation_loss: float | None

    @property
    def exit_status(self) -> int:
        """0: the run is complete; 75: stopped in good order, start it again to go on."""
        return EXIT_STOPPED if self.reason in RESUMABLE else EXIT_COMPLETE
