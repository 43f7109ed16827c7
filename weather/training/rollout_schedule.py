"""How many forecasts in a row a training step makes: `training.rollout_schedule`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class RolloutSchedule:
    """Forecasts in a row by optimizer step (from 0), and their sums; one forecast unless the schedule says more.

    Attributes:
        stretches: (first step, forecasts in a row), rising from step 0.
    """

    stretches: tuple[tuple[int, int], ...] = ((0, 1),)

    @classmethod
    def of(cls, schedule: Mapping[int, int]) -> RolloutSchedule:
        """Of the config's {first step: forecasts}."""
        return cls(tuple(sorted({0: 1, **schedule}.items())))

    @property
    def longest(self) -> int:
        """Most forecasts in a row, whether or not the run comes so far."""
        return max(forecasts for _, forecasts in self.stretches)

    def forecasts(self, step: int) -> int:
        """Forecasts in a row of one step."""
        return next(forecasts for first, forecasts in reversed(self.stretches) if first <= step)

    def before(self, step: int) -> int:
        """Forecasts of each sample in all steps before one."""
        firsts = [first for first, _ in self.stretches[1:]]
        return sum(
            forecasts * max(0, min(end, step) - first)
            for (first, forecasts), end in zip(self.stretches, [*firsts, step], strict=True)
        )

    def lengthening(self, step: int, recent: int) -> float:
        """Most forecasts of the three steps from `step` on over most of the `recent` steps before; at least 1."""
        before = max(self.forecasts(each) for each in range(max(0, step - recent), max(step, 1)))
        return max(1.0, max(self.forecasts(each) for each in range(step, step + 3)) / before)

    def up_to(self, step: int) -> RolloutSchedule:
        """The same before a step, and one forecast from there on."""
        before: list[tuple[int, int]] = []
        for first, forecasts in [*(stretch for stretch in self.stretches if stretch[0] < step), (step, 1)]:
            if not before or before[-1][1] != forecasts:
                before.append((first, forecasts))
        return RolloutSchedule(tuple(before))

    def steps_within(self, forecasts: int) -> int:
        """Largest number of steps from the start that make at most so many forecasts of each sample."""
        ends = [first for first, _ in self.stretches[1:]]
        for (first, each), end in itertools.zip_longest(self.stretches, ends):
            affordable = first + forecasts // each
            if end is None or affordable < end:
                return affordable
            forecasts -= each * (end - first)
        raise AssertionError("the last stretch has no end")
