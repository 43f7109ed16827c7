"""What the clock asks for at the end of a step: time budget spent, walltime near, a checkpoint due.

Only rank 0 looks at the clock; `weather.training.monitor` makes its wish the decision of all ranks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from weather.config.schema import TrainingSection
from weather.training.monitor import Requests, Stopwatch

UNKNOWN_SAVE_SECONDS = 60.0  # held back before the walltime until a save was measured,
LARGEST_SHARE = 0.1  # but no more than this share of the time that was left at the start
LEAVING_SECONDS = 5.0  # for the last step, the loaders and the interpreter to end


@dataclass
class Durations:
    """Seconds that the last evaluation and the last save took; None until there was one."""

    evaluation: float | None = None
    save: float | None = None


class Clock:
    """Keeps the run inside its time budget and its job inside the walltime.

    Args:
        section: of the config.
        watch: counts the run's time.
        deadline: by `time.monotonic()`, when the job must be gone; None: it may stay.
    """

    def __init__(self, section: TrainingSection, watch: Stopwatch, deadline: float | None) -> None:
        self.section, self.watch = section, watch
        self.durations = Durations()
        self.deadline = deadline
        self._last_save = now = time.monotonic()
        self._unknown_save = min(UNKNOWN_SAVE_SECONDS, LARGEST_SHARE * max(0.0, (deadline or now) - now))

    def saved(self, seconds: float) -> None:
        """A checkpoint was written in so many seconds."""
        self._last_save = time.monotonic()
        self.durations.save = seconds

    def requests(self, *, evaluation_near: bool, save_near: bool) -> Requests:
        """The wishes of this moment.

        Args:
            evaluation_near, save_near: one is due before the answer to these wishes is read.
        """
        budget, minutes = self.section.time_budget_hours, self.section.save_every_minutes
        return Requests(
            time_over=budget is not None and self.watch.total() + self.reserve() > budget * 3600,
            walltime=self._walltime_near(evaluation_near, save_near),
            save=minutes > 0 and time.monotonic() - self._last_save >= minutes * 60,
        )

    def reserve(self) -> float:
        """Seconds held back of a time budget: the decision is read a step late, and then comes the end of the run,
        an evaluation and a save."""
        return 2 * self.watch.seconds_per_step + (self.durations.evaluation or 0.0) + (self.durations.save or 0.0)

    def margin(self) -> float:
        """Seconds held back of a walltime: twice the last save, for file systems waver, three steps, and the end."""
        save = self._unknown_save if self.durations.save is None else self.durations.save
        return 2 * save + 3 * self.watch.seconds_per_step + LEAVING_SECONDS

    def _walltime_near(self, evaluation_near: bool, save_near: bool) -> bool:
        if self.deadline is None:
            return False
        coming = (self.durations.evaluation or 0.0) * evaluation_near + (self.durations.save or 0.0) * save_near
        return time.monotonic() + self.margin() + coming > self.deadline
