"""Every number of a scorecard with its interval, found once for all that show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from weather.verification.scores import COVERAGE, Interval, Scores

METRICS = ("rmse", "mae", "bias", "acc", "activity")
#: Those that say which of two forecasts is better.
COMPARED = ("rmse", "mae", "acc")


@dataclass(frozen=True)
class Verdict:
    """How a model does beside another run over the globe, in so many pairs of channel and lead.

    Attributes:
        better, worse: the RMSE is lower, or higher, and the interval of the difference excludes 0.
        unsure: it holds 0, or there is none.
        without: a forecast of one of them blew up.
    """

    better: int
    worse: int
    unsure: int
    without: int


@dataclass(frozen=True)
class Estimates:
    """The scores of a verification with their intervals, all [region, lead, channel].

    Attributes:
        scores: what they were found from.
        metrics: by source and name.
        differences: score of the model minus that of a baseline or another run, paired over initial times, by the
            other's name and that of the score, of `COMPARED`.
        skill: 1 - RMSE / RMSE of a baseline or another run, by its name.
        coverage: of all intervals.
        name: of the run that was verified.
    """

    scores: Scores
    metrics: dict[tuple[str, str], Interval]
    differences: dict[tuple[str, str], Interval]
    skill: dict[str, np.ndarray]
    coverage: float
    name: str = ""

    @property
    def baselines(self) -> tuple[str, ...]:
        """Persistence and climatology, those of them that are there."""
        return tuple(source for source in self.scores.sources[1:] if source not in self.runs)

    @property
    def runs(self) -> tuple[str, ...]:
        return self.scores.runs

    def label(self, source: str) -> str:
        """A source in a legend: where other runs have names, the model has one, too."""
        return f"{source} ({self.name})" if self.runs and self.name and source == self.scores.sources[0] else source

    def differs(self, other: str, metric: str = "rmse") -> np.ndarray:
        """Whether the interval of the difference to a baseline or run excludes 0; False where there is none."""
        between = self.differences[other, metric]
        return (between.low > 0) | (between.high < 0)

    @property
    def has_intervals(self) -> bool:
        return any(np.isfinite(each.low).any() for each in self.metrics.values())

    def verdict(self, run: str) -> Verdict:
        """Over the globe, all channels and leads."""
        difference = self.differences[run, "rmse"].estimate[0]
        known, differs = np.isfinite(difference), self.differs(run)[0]
        better, worse = (known & differs & side for side in (difference < 0, difference > 0))
        counts = (int(each.sum()) for each in (better, worse, known & ~differs, ~known))
        return Verdict(*counts)


def estimate(
    scores: Scores,
    *,
    name: str = "",
    coverage: float = COVERAGE,
    done: Callable[[int, int], None] = lambda _, of: None,
) -> Estimates:
    """All scores and their intervals.

    Args:
        name: of the run that was verified.
        done: told how many of how many are found.
    """
    wanted = [(source, metric) for source in scores.sources for metric in METRICS]
    pairs = [(other, metric) for other in scores.sources[1:] for metric in COMPARED]
    total = len(wanted) + len(pairs)
    metrics, differences = {}, {}
    for number, (source, metric) in enumerate(wanted, start=1):
        metrics[source, metric] = scores.interval(metric, source, coverage=coverage)
        done(number, total)
    for number, (other, metric) in enumerate(pairs, start=len(wanted) + 1):
        differences[other, metric] = scores.difference(metric, other, coverage=coverage)
        done(number, total)
    skill = {other: scores.skill(other) for other in scores.sources[1:]}
    return Estimates(scores, metrics, differences, skill, coverage, name)
