"""The measures of an ensemble over initial times, with intervals, from its scores of each initial time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from weather.presentation.numbers import finite_or_none
from weather.verification.bootstrap import FEWEST, block_length, score_bounds
from weather.verification.scores import COVERAGE, REPLICATES, Interval

#: Area means of one initial time that measures are made of; see `verification.ensemble_scores`.
PARTS = ("crps", "fair_crps", "squared_error", "variance", "outside")


@dataclass(frozen=True)
class Measure:
    """A function of means over initial times.

    Attributes:
        parts: whose means it is made of.
        value: of the number of members and of these means.
        limits: of what it can be at all.
    """

    parts: tuple[str, ...]
    value: Callable[..., np.ndarray]
    limits: tuple[float, float] = (0.0, np.inf)


def _root(mean_square: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(mean_square, 0.0))  # rounding can leave a mean without its one value below 0


MEASURES = {
    "crps": Measure(("crps",), lambda members, crps: crps),
    "fair_crps": Measure(("fair_crps",), lambda members, crps: crps, (-np.inf, np.inf)),
    "rmse": Measure(("squared_error",), lambda members, square: _root(square)),
    "spread": Measure(("variance",), lambda members, variance: _root(variance)),
    "spread_skill_ratio": Measure(
        ("variance", "squared_error"),
        lambda members, variance, square: np.sqrt((members + 1) / members) * _root(variance) / _root(square),
    ),
    "outside": Measure(("outside",), lambda members, share: share, (0.0, 1.0)),
}


@dataclass(frozen=True)
class EnsembleSkill:
    """What an ensemble is worth, in physical units.

    Attributes:
        channels, units: [C].
        lead_hours: [L].
        forecasts: [L] that have truth; measures are NaN where there are none.
        blocks: [L] initial times in a block of the bootstrap; 0: no intervals.
        measures: by name of `MEASURES`, each [L, C]; RMSE is that of the ensemble mean, `outside` the share of the area
            where the truth lies outside the ensemble.
        rank_histogram: [L, C, members + 1] shares of the area, sum 1. Its counts are not independent, neither those of
            neighbouring points nor those of ranks, so no test of its flatness is made; `outside` has an interval, which
            takes each initial time as one.
    """

    members: int
    channels: tuple[str, ...]
    units: tuple[str, ...]
    lead_hours: tuple[float, ...]
    forecasts: np.ndarray
    blocks: np.ndarray
    measures: dict[str, Interval]
    rank_histogram: np.ndarray

    @property
    def reliable_outside(self) -> float:
        """The share of truths outside an ensemble whose members and truth are drawn alike."""
        return 2 / (self.members + 1)

    def without_intervals(self, lead: int) -> str:
        """Why there are no intervals at a lead, or nothing."""
        count = int(self.forecasts[lead])
        if self.blocks[lead]:
            return ""
        few = "one initial time shows nothing" if count == 1 else f"{count} initial times show too little"
        return f"no intervals: {few} of how scores vary from one to another; they need {FEWEST}"

    def as_dict(self) -> dict[str, Any]:
        """{members, ..., channels: {channel: {unit, leads: {lead hours: {forecasts, measures, intervals, ...}}}}}."""
        return {
            "members": self.members,
            "interval_coverage": COVERAGE,
            "reliable_outside": self.reliable_outside,
            "channels": {
                channel: {
                    "unit": self.units[c],
                    "leads": {
                        f"{hours:g}": self._record(lead, c)
                        for lead, hours in enumerate(self.lead_hours)
                        if self.forecasts[lead]
                    },
                }
                for c, channel in enumerate(self.channels)
            },
        }

    def _record(self, lead: int, channel: int) -> dict[str, Any]:
        reason, at = self.without_intervals(lead), (lead, channel)
        bounds = {
            name: [finite_or_none(each.low[at]), finite_or_none(each.high[at])] for name, each in self.measures.items()
        }
        return {
            "forecasts": int(self.forecasts[lead]),
            **{name: finite_or_none(each.estimate[at]) for name, each in self.measures.items()},
            "intervals": {"none": reason} if reason else bounds,
            "rank_histogram": [finite_or_none(share) for share in self.rank_histogram[lead, channel]],
        }


def estimate_measures(
    parts: np.ndarray, verified: np.ndarray, members: int, done: Callable[[int], None] = lambda leads: None
) -> tuple[dict[str, Interval], np.ndarray]:
    """All measures with intervals over initial times, and the length [L] of the blocks that these are made with.

    Args:
        parts: [part, T, L, C] of each initial time, in the order of time.
        verified: [T, L] whether a forecast has truth.
        done: told that a lead is done.
    """
    leads, channels = parts.shape[2:]
    measures = {name: Interval(*np.full((3, leads, channels), np.nan)) for name in MEASURES}
    blocks = np.zeros(leads, np.int64)
    for lead in range(leads):
        there = verified[:, lead]
        if there.any():
            values = dict(zip(PARTS, parts[:, there, lead], strict=True))
            if there.sum() >= FEWEST:
                blocks[lead] = block_length(values["squared_error"])
            for name, measure in MEASURES.items():
                found = _interval(measure, [values[part] for part in measure.parts], members, int(blocks[lead]))
                for field, row in zip(("estimate", "low", "high"), found, strict=True):
                    getattr(measures[name], field)[lead] = row
        done(1)
    return measures, blocks


def _interval(measure: Measure, series: list[np.ndarray], members: int, length: int) -> tuple[np.ndarray, ...]:
    """Estimate and bounds, each [C], of a measure of series [T, C]; a length of 0 leaves the bounds NaN."""

    def value(*means: np.ndarray) -> np.ndarray:
        return measure.value(members, *means)

    with np.errstate(invalid="ignore", divide="ignore"):
        estimate = value(*(values.mean(axis=0) for values in series))
    if not length:
        return estimate, np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
    low, high = score_bounds(series, value, length=length, replicates=REPLICATES, coverage=COVERAGE)
    return estimate, np.clip(low, *measure.limits), np.clip(high, *measure.limits)
