"""What a verification found: scores of every initial time, from which means, intervals, tables and figures follow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.errors import ConfigError, did_you_mean
from weather.presentation.numbers import finite_or_none
from weather.verification.bootstrap import FEWEST, block_length, score_bounds

MODEL, PERSISTENCE, CLIMATOLOGY = "model", "persistence", "climatology"
BASELINES = (PERSISTENCE, CLIMATOLOGY)
COVERAGE = 0.9
REPLICATES = 1000
#: What a score can be at all; its interval is cut there.
LIMITS = {"rmse": (0.0, np.inf), "mae": (0.0, np.inf), "activity": (0.0, np.inf), "acc": (-1.0, 1.0)}


@dataclass(frozen=True)
class Interval:
    """Estimates and their bounds, all of one shape, such as [R, L, C]; bounds are NaN where there is no interval."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Scores of forecasts by source, region, initial time, lead and channel, in physical units.

    The values of one initial time are kept, so that intervals can be found by resampling initial times. A forecast
    that blew up has values that are not finite; none is left out. A score over initial times is the mean of the values
    of one, but for RMSE and activity, whose root is taken after the mean of squares (WeatherBench 2, metrics.MSE and
    ACC, each with `temporal_mean`; WeatherBench-X means numerator and denominator of ACC apart instead).

    Attributes:
        channels, units: [C].
        lead_hours: [L], rising.
        sources: [S] the model first, then persistence and climatology, then other runs.
        regions: [R] `global` first.
        initial_times: [T] datetime64[s], or None where the archive has no time stamps.
        squared_error, absolute_error, error, correlation, activity: [S, R, T, L, C] float64, area means over a region
            of the squared, absolute and plain error; correlation of forecast and true anomaly over it (uncentred, as
            WeatherBench 2); standard deviation over it of the forecast anomaly.
        true_activity: [R, T, L, C] the same of the truth's anomaly.
        wavenumbers: [K] zonal, from 1; none where there are no spectra.
        power: [S + 1, L, C, K] zonal power spectra, mean over initial times and latitudes; the truth comes last.
        blown_up: [S, L] forecasts that hold a value that is not finite.
        climatology: what it is, in words.
        replicates: resamples of the initial times for intervals; 0: there are no intervals.
        remarks: what a reader should know besides, such as why there are no spectra.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    lead_hours: tuple[float, ...]
    sources: tuple[str, ...]
    regions: tuple[str, ...]
    initial_times: np.ndarray | None
    squared_error: np.ndarray
    absolute_error: np.ndarray
    error: np.ndarray
    correlation: np.ndarray
    activity: np.ndarray
    true_activity: np.ndarray
    wavenumbers: np.ndarray
    power: np.ndarray
    blown_up: np.ndarray
    climatology: str
    replicates: int = REPLICATES
    remarks: tuple[str, ...] = ()

    @property
    def samples(self) -> int:
        """Initial times."""
        return self.squared_error.shape[2]

    @property
    def runs(self) -> tuple[str, ...]:
        """The other runs among the sources."""
        return tuple(source for source in self.sources[1:] if source not in BASELINES)

    def rmse(self, source: str = MODEL) -> np.ndarray:
        """Root mean square error [R, L, C], the root outside the mean over initial times."""
        return self._over_times("rmse", source)

    def mae(self, source: str = MODEL) -> np.ndarray:
        """Mean absolute error [R, L, C]."""
        return self._over_times("mae", source)

    def bias(self, source: str = MODEL) -> np.ndarray:
        """Mean error [R, L, C], forecast minus truth."""
        return self._over_times("bias", source)

    def acc(self, source: str = MODEL) -> np.ndarray:
        """Anomaly correlation [R, L, C], the mean over initial times of the uncentred correlation over the region."""
        return self._over_times("acc", source)

    def activity_of(self, source: str | None = MODEL) -> np.ndarray:
        """Activity [R, L, C]: root of the mean over initial times of the variance of the anomaly; None: the truth's."""
        if source is None:
            return np.asarray(np.sqrt(np.square(self.true_activity).mean(axis=1)))
        return self._over_times("activity", source)

    def skill(self, baseline: str, score: str = "rmse") -> np.ndarray:
        """Skill score [R, L, C] 1 - score of the model / score of a baseline, of `rmse` or `mae`: 1 is perfect.

        NaN where the baseline makes no error, or has blown up.
        """
        reference = self._over_times(score, baseline)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(
                (reference > 0) & np.isfinite(reference), 1 - self._over_times(score, MODEL) / reference, np.nan
            )

    def score(self, name: str, source: str = MODEL) -> np.ndarray:
        """`rmse`, `mae`, `bias`, `acc` or `activity` by name, [R, L, C]."""
        return self._over_times(name, source)

    def interval(self, name: str, source: str = MODEL, *, coverage: float = COVERAGE) -> Interval:
        """Score with its interval over initial times, by a circular block bootstrap (`verification.bootstrap`).

        The same blocks are drawn for all sources, regions and channels of a lead; see `blocks`. There is no interval
        with fewer than ten initial times, nor where a value is not finite.
        """
        return self._interval(self._values(name, source), None, name, coverage, self.blocks)

    def difference(self, name: str, baseline: str, *, coverage: float = COVERAGE) -> Interval:
        """Score of the model minus that of a baseline or run, paired: each resample has the same initial times of both.

        Its blocks are as long as the difference of the squared errors asks for: what makes a day hard for both falls
        out of it, and what makes one run better in one season stays.
        """
        ours, theirs = (self.squared_error[self.sources.index(source)] for source in (MODEL, baseline))
        with np.errstate(invalid="ignore"):  # both blew up
            blocks = _blocks(ours - theirs)
        return self._interval(self._values(name, MODEL), self._values(name, baseline), name, coverage, blocks)

    @functools.cached_property
    def blocks(self) -> tuple[int, ...]:
        """Initial times [L] in a block of the bootstrap: from the autocorrelation of the model's squared errors."""
        return _blocks(self.squared_error[self.sources.index(MODEL)])

    def as_dict(self, region: str = "global") -> dict[str, Any]:
        """{channel: {lead hours: {source: {rmse, mae, bias, acc}}}} of a region; None where not finite."""
        number = self.regions.index(region)
        tables = {
            source: {name: self.score(name, source)[number] for name in ("rmse", "mae", "bias", "acc")}
            for source in self.sources
        }
        return {
            channel: {
                f"{hours:g}": {
                    source: {name: finite_or_none(values[row, column]) for name, values in table.items()}
                    for source, table in tables.items()
                }
                for row, hours in enumerate(self.lead_hours)
            }
            for column, channel in enumerate(self.channels)
        }

    def _over_times(self, name: str, source: str) -> np.ndarray:
        values, root = self._values(name, source).mean(axis=1), name in ("rmse", "activity")
        return np.asarray(np.sqrt(values) if root else values)

    def _values(self, name: str, source: str) -> np.ndarray:
        """[R, T, L, C] what the mean over initial times is taken of."""
        index = self.sources.index(source)
        if name == "activity":
            return np.square(self.activity[index])
        kept = {"rmse": self.squared_error, "mae": self.absolute_error, "bias": self.error, "acc": self.correlation}
        return kept[name][index]

    def _interval(
        self, ours: np.ndarray, theirs: np.ndarray | None, name: str, coverage: float, blocks: Sequence[int]
    ) -> Interval:
        root = name in ("rmse", "activity")

        def score(*means: np.ndarray) -> np.ndarray:
            # Rounding can leave a mean of squares without its one value below 0.
            scores = [np.sqrt(np.maximum(mean, 0.0)) if root else mean for mean in means]
            return scores[0] if theirs is None else scores[0] - scores[1]

        series = [ours] if theirs is None else [ours, theirs]
        with np.errstate(invalid="ignore"):  # both blew up
            estimate = score(*(values.mean(axis=1) for values in series))
        low, high = np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)
        if self.replicates and self.samples >= FEWEST:
            for lead, length in enumerate(blocks):
                by_time = [values[:, :, lead].swapaxes(0, 1).reshape(self.samples, -1) for values in series]
                bounds = score_bounds(by_time, score, length=length, replicates=self.replicates, coverage=coverage)
                low[:, lead], high[:, lead] = (each.reshape(estimate[:, lead].shape) for each in bounds)
        if theirs is None:
            low, high = (np.clip(each, *LIMITS.get(name, (-np.inf, np.inf))) for each in (low, high))
        return Interval(estimate, low, high)


def _blocks(series: np.ndarray) -> tuple[int, ...]:
    """Block lengths [L] for series [R, T, L, C]."""
    by_lead = np.moveaxis(series, 2, 0).transpose(0, 2, 1, 3)  # [L, T, R, C]
    return tuple(block_length(values.reshape(len(values), -1)) for values in by_lead)


def parse_baselines(text: str) -> tuple[str, ...]:
    """Baselines written as `persistence,climatology,runs/other`; `none` for nothing.

    A word that is no baseline is the folder of a run, or such a folder and its checkpoint: `runs/other@last`.

    Raises:
        ConfigError: something else is written.
    """
    names = () if text.strip() == "none" else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in BASELINES and not ((name and Path(name).is_dir()) or "/" in name or "@" in name):
            raise ConfigError(
                f"'{name}' is no baseline",
                where=f"--baselines {text}",
                rule=f"{', '.join(BASELINES)} or folders of runs, separated by commas, or none",
                fix=did_you_mean(name, BASELINES),
            )
    return names
