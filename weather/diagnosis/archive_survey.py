"""Reads states of an archive, sampled or all, and keeps what they are like: range, moments, what is not finite."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from weather.data.archive import join_files
from weather.data.loader import sampled_states
from weather.data.moments import Moments
from weather.data.reader import StateReader
from weather.diagnosis.archive_files import YearFile
from weather.diagnosis.envelopes import envelope, to_standard, variable
from weather.diagnosis.findings import Section, Severity
from weather.errors import DataError
from weather.runtime.progress import duration

SAMPLED_BYTES = 4e9  # of values read altogether, unless every file has a state to give all the same
STATES_PER_FILE = 16
SAYS_EVERY = 5.0  # seconds


@dataclass
class ChannelSurvey:
    """One channel, over all states read.

    Attributes:
        moments: of the training split's finite values.
        zonal_sum, zonal_count: [lat] over time and longitude of finite values.
        nonfinite: values; nonfinite_states: states that have any; first_nonfinite: where.
        outside: values beyond what the variable can have; first_outside: where.
    """

    name: str
    unit: str
    bounds: tuple[float, float] | None
    zonal_sum: np.ndarray
    zonal_count: np.ndarray
    low: float = np.inf
    high: float = -np.inf
    values: int = 0
    nonfinite: int = 0
    nonfinite_states: int = 0
    first_nonfinite: str = ""
    outside: int = 0
    first_outside: str = ""
    moments: Moments = field(default_factory=lambda: Moments(1))
    everywhere: Moments = field(default_factory=lambda: Moments(1))

    def take(self, plane: np.ndarray, place: str, training: bool) -> None:
        """Take in one state [lat, lon]."""
        finite = np.isfinite(plane)
        good = plane if finite.all() else plane[finite]
        self.values += plane.size
        if good.size < plane.size:
            self.nonfinite += plane.size - good.size
            self.nonfinite_states += 1
            self.first_nonfinite = self.first_nonfinite or place
        if not good.size:
            return
        low, high = float(good.min()), float(good.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.bounds is not None and not (self.bounds[0] <= low and high <= self.bounds[1]):
            self.outside += int(((good < self.bounds[0]) | (good > self.bounds[1])).sum())
            self.first_outside = self.first_outside or place
        self.zonal_sum += np.where(finite, plane, 0).sum(axis=1, dtype=np.float64)
        self.zonal_count += finite.sum(axis=1)
        moments = Moments(1)
        moments.update(good.reshape(1, 1, 1, -1))
        self.everywhere.merge(moments)
        if training:
            self.moments.merge(moments)

    @property
    def mean(self) -> float:
        return float(self.everywhere.mean[0]) if self.everywhere.count else np.nan

    @property
    def zonal_mean(self) -> np.ndarray:
        """[lat] of the mean over time and longitude; NaN where nothing is finite."""
        return np.where(self.zonal_count, self.zonal_sum / np.maximum(self.zonal_count, 1), np.nan)


@dataclass
class Survey:
    """All channels over the states read; training_states of them make the moments."""

    channels: list[ChannelSurvey]
    states: int = 0
    training_states: int = 0
    all_states: int = 0


def survey(section: Section, files: Sequence[YearFile], *, full: bool, say: Callable[[str], None]) -> Survey:
    """Read states of every file; a file that cannot be read becomes a finding, and the others are read."""
    header = files[0].header
    found = Survey(
        [_channel(name, unit, header.grid[0]) for name, unit in zip(header.channels, header.channel_units, strict=True)]
    )
    state_bytes = 4 * int(np.prod(header.shape[1:]))
    share = int(np.clip(SAMPLED_BYTES / len(files) / state_bytes, 1, STATES_PER_FILE))
    plan = []
    for file in files:
        split = join_files(file.split, [file.header])
        plan.append((file, split, np.arange(split.states) if full else sampled_states(split, share)))
        found.all_states += split.states
    total = sum(len(states) for _, _, states in plan)
    began = said = time.monotonic()
    fields = np.empty((1, *header.shape[1:]), np.float32)
    done = 0
    for file, split, states in plan:
        reader = StateReader(split, range(header.shape[1]))
        try:
            for state in states:
                reader.read(np.array([state]), fields)
                place = f"{file.name}, time index {state}"
                for channel, plane in zip(found.channels, fields[0], strict=True):
                    channel.take(plane, place, file.split == "train")
                found.states += 1
                found.training_states += file.split == "train"
                done += 1
                if time.monotonic() - said > SAYS_EVERY:
                    said = time.monotonic()
                    left = (said - began) * (total - done) / done
                    say(f"{done} of {total} states read, {duration(left)} left")
        except (DataError, OSError, RuntimeError) as error:  # h5py's, of a damaged index of chunks
            section.find(Severity.ERROR, "data.read", reading_failed(file, error))
        finally:
            reader.close()
    return found


def reading_failed(file: YearFile, error: Exception) -> str:
    """What a finding says of a file that cannot be read."""
    where = "" if isinstance(error, DataError) else f"{file.header.where}: "
    return f"{where}{' '.join(str(error).split())}"


def _channel(name: str, unit: str, rows: int) -> ChannelSurvey:
    bounds, known = None, variable(name)
    conversion = None if known is None else to_standard(known, unit)
    if known is not None and conversion is not None:
        factor, offset = conversion
        bounds = ((envelope(known).low - offset) / factor, (envelope(known).high - offset) / factor)
    return ChannelSurvey(name, unit, bounds, np.zeros(rows), np.zeros(rows))
