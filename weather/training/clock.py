"""What the clock asks for at the end of a step: time budget spent, walltime near, a checkpoint due.

Only rank 0 looks at the clock; `weather.training.monitor` makes its wish the decision of all ranks.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable

from weather.config.schema import TrainingSection
from weather.training.monitor import Requests, Stopwatch

UNKNOWN_SAVE_SECONDS = 60.0  # that a save, or an evaluation, is taken to need until one was measured,
LARGEST_SHARE = 0.1  # but no more than this share of the time that was left at the start
LEAVING_SECONDS = 5.0  # for the loaders and the interpreter to end
RECENT_STEPS = 5


class Clock:
    """Keeps the run inside its time budget and its job inside the walltime.

    Args:
        section: of the config.
        watch: counts the run's time.
        deadline: by `time.monotonic()`, when the job must be gone; None: it may stay.
        seconds_to_save: how long a save would take that is waited for; 0 as long as none was measured.

    Attributes:
        lengthening: how many times as long as the last steps the next ones may be, where rollouts begin.
    """

    def __init__(
        self,
        section: TrainingSection,
        watch: Stopwatch,
        deadline: float | None,
        seconds_to_save: Callable[[], float],
    ) -> None:
        self.section, self.watch = section, watch
        self.deadline = deadline
        self.seconds_to_save = seconds_to_save
        self.evaluation_seconds = 0.0  # of the last one
        self._last_save = now = time.monotonic()
        self._unknown = min(UNKNOWN_SAVE_SECONDS, LARGEST_SHARE * max(0.0, (deadline or now) - now))
        self._saved = False
        self._step_began: float | None = None
        self.lengthening = 1.0
        self._steps: collections.deque[float] = collections.deque(maxlen=RECENT_STEPS)

    def saved(self) -> None:
        """A checkpoint was begun."""
        self._last_save, self._saved = time.monotonic(), True

    def requests(self, *, evaluation_near: bool, save_near: bool) -> Requests:
        """The wishes at the end of a step.

        Args:
            evaluation_near, save_near: one is due before the answer to these wishes is read.
        """
        self._time_step()
        budget, minutes = self.section.time_budget_hours, self.section.save_every_minutes
        save = self.seconds_to_save()
        # The decision is read a step late; then come the end of the run, an evaluation and a save.
        reserve = 2 * self.step_seconds + self.evaluation_seconds * (1 + evaluation_near) + save * (1 + save_near)
        return Requests(
            time_over=budget is not None and self.watch.total() + reserve > budget * 3600,
            walltime=self.walltime_near(evaluation_near=evaluation_near, save_near=save_near),
            save=(minutes > 0 and time.monotonic() - self._last_save >= minutes * 60) or self._first_save_due(),
        )

    def _first_save_due(self) -> bool:
        """A job that must leave in time saves early once, to know how long a save takes."""
        return self.deadline is not None and not self._saved and self.seconds_to_save() == 0 and len(self._steps) >= 2

    @property
    def step_seconds(self) -> float:
        """The longest of the last steps, by how much longer those that come may be; a start's first, which compiles
        and warms up, does not count."""
        return max(self._steps, default=0.0) * self.lengthening

    def margin(self) -> float:
        """Seconds held back of a walltime: twice a save, for file systems waver, three steps, and the end."""
        return 2 * (self.seconds_to_save() or self._unknown) + 3 * self.step_seconds + LEAVING_SECONDS

    def _time_step(self) -> None:
        training = self.watch.training_seconds()
        if self._step_began is not None:
            self._steps.append(training - self._step_began)
        self._step_began = training

    def walltime_near(self, *, evaluation_near: bool, save_near: bool) -> bool:
        """Whether it is time to save and leave; the arguments are those of `requests`."""
        if self.deadline is None:
            return False
        coming = (self.evaluation_seconds or self._unknown) * evaluation_near + self.seconds_to_save() * save_near
        return time.monotonic() + self.margin() + coming > self.deadline
