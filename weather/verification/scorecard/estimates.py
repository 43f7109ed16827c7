"""Every number of a scorecard with its interval, found once for all that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weather.verification.scores import COVERAGE, Interval, Scores

METRICS = ("rmse", "mae", "bias", "acc", "activity")


@dataclass(frozen=True)
class Estimates:
    """The scores of a verification with their intervals, all [region, lead, channel].

    Attributes:
        scores: what they were found from.
        metrics: by source and name.
        differences: RMSE of the model minus that of a baseline, paired over initial times, by baseline.
        skill: 1 - RMSE / RMSE of a baseline, by baseline.
        coverage: of all intervals.
    """

    scores: Scores
    metrics: dict[tuple[str, str], Interval]
    differences: dict[str, Interval]
    skill: dict[str, np.ndarray]
    coverage: float

    @property
    def baselines(self) -> tuple[str, ...]:
        return self.scores.sources[1:]

    def differs(self, baseline: str) -> np.ndarray:
        """Whether the interval of the difference to a baseline excludes 0; False where there is none."""
        between = self.differences[baseline]
        return (between.low > 0) | (between.high < 0)

    @property
    def has_intervals(self) -> bool:
        return any(np.isfinite(each.low).any() for each in self.metrics.values())


def estimate(
    scores: Scores, *, coverage: float = COVERAGE, done: Callable[[int, int], None] = lambda _, of: None
) -> Estimates:
    """All scores and their intervals.

    Args:
        done: told how many of how many are found.
    """
    wanted = [(source, name) for source in scores.sources for name in METRICS]
    total = len(wanted) + len(scores.sources) - 1
    metrics = {}
    for number, (source, name) in enumerate(wanted, start=1):
        metrics[source, name] = scores.interval(name, source, coverage=coverage)
        done(number, total)
    differences = {}
    for number, baseline in enumerate(scores.sources[1:], start=len(wanted) + 1):
        differences[baseline] = scores.difference("rmse", baseline, coverage=coverage)
        done(number, total)
    skill = {baseline: scores.skill(baseline) for baseline in scores.sources[1:]}
    return Estimates(scores, metrics, differences, skill, coverage)
