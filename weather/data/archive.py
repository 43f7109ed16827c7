"""An archive on disk: ``train/ valid/ test/*.h5`` and ``stats/``. Only headers are read here.

Files of a split are put in the order of their time stamps, or by name where there are none. Two states are
consecutive if the second is later by at most 1.5 time steps (the archive's step is the median difference); so a
missing state is a gap, while a step that wavers by an hour is not. Without time stamps every file stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from weather.config.schema import DataSection
from weather.data.agreement import check_agreement
from weather.data.coarsening import Coarsening, plan_coarsening
from weather.data.order import sample_starts, stratified_subset
from weather.data.static_inputs import StaticInput, read_static_inputs
from weather.data.statistics import Statistics, read_statistics
from weather.data.year_file import Header, read_header
from weather.errors import ConfigError, DataError

SPLITS = ("train", "valid", "test")
DEFAULT_STEP_HOURS = 6.0
GAP = 1.5
STEP_TOLERANCE = 0.2  # of the splits' time steps: medians of 7 and 8 h may both come from one irregular archive
DAYS_PER_SPAN = {"y": 365.25, "m": 365.25 / 12, "d": 1.0}


@dataclass(frozen=True)
class Split:
    """All year files of one split, and which states follow one another.

    Attributes:
        headers: one a file, in order of time.
        first_states: [files + 1] number of the first state of each file, and the count of all states at the end.
        time: [states] datetime64[s], or None.
        consecutive: [states - 1] bool.
        step_hours: the archive's time step.
        coarsening: how its states are brought to a coarser grid; None: they stay as they are.
    """

    name: str
    headers: tuple[Header, ...]
    first_states: np.ndarray = field(compare=False)
    time: np.ndarray | None = field(compare=False)
    consecutive: np.ndarray = field(compare=False)
    step_hours: float
    coarsening: Coarsening | None = field(default=None, compare=False)

    @property
    def grid(self) -> tuple[int, int]:
        """Latitudes and longitudes of its states as they are read."""
        return self.headers[0].grid if self.coarsening is None else self.coarsening.grid

    @property
    def states(self) -> int:
        return int(self.first_states[-1])

    def locate(self, state: int) -> tuple[int, int]:
        """File number and index in that file of a state."""
        file = int(np.searchsorted(self.first_states, state, side="right")) - 1
        return file, int(state - self.first_states[file])

    def describe(self, state: int) -> str:
        """File, dataset and index of a state, for messages."""
        file, index = self.locate(state)
        when = f" ({self.time[state]})" if self.time is not None else ""
        return f"{self.headers[file].where}, time index {index}{when}"

    def step_range_hours(self) -> tuple[float, float]:
        """Shortest and longest time between consecutive states."""
        if self.time is None or not self.consecutive.any():
            return self.step_hours, self.step_hours
        hours = np.diff(self.time).astype(np.int64)[self.consecutive] / 3600
        return float(hours.min()), float(hours.max())

    def years(self) -> np.ndarray:
        """[states] calendar year of each state, or its file number where there are no time stamps."""
        if self.time is not None:
            return self.time.astype("datetime64[Y]").astype(np.int64) + 1970
        return np.repeat(np.arange(len(self.headers)), np.diff(self.first_states))

    def starts(self, sequence_length: int, dt: int) -> np.ndarray:
        """First states of all samples whose last target is `dt` steps after the newest input.

        Raises:
            DataError: no run of states is long enough.
        """
        span = sequence_length + dt
        starts = sample_starts(self.consecutive, span)
        if not starts.size:
            raise DataError(
                f"no {span} consecutive states among {self.states} in {len(self.headers)} file(s)",
                where=self.headers[0].path.parent,
                rule=f"a sample needs sequence_length {sequence_length} + {dt} to its last target = {span} states "
                "without a gap",
            )
        return starts


@dataclass(frozen=True)
class Archive:
    """Splits, channels and statistics as a run uses them.

    Attributes:
        channel_indices: [C] position of each selected channel in the files.
        channels, channel_units: [C] of the selected channels, in the order selected.
        statistics: of the selected channels.
        static_inputs: those of `data.extra_inputs` that are not computed.
        coarsened_by: `data.coarsen_by`, which makes other states of the same grid; None: they stay as they are.
    """

    data_dir: Path
    splits: dict[str, Split]
    channel_indices: tuple[int, ...]
    channels: tuple[str, ...]
    channel_units: tuple[str, ...]
    latitude: np.ndarray = field(compare=False)
    longitude: np.ndarray = field(compare=False)
    statistics: Statistics = field(compare=False)
    static_inputs: tuple[StaticInput, ...] = field(default=(), compare=False)
    coarsened_by: str | None = None

    @property
    def grid(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)

    def training_starts(self, section: DataSection, sequence_length: int, ahead: int | None = None) -> np.ndarray:
        """First states of the training samples that `temporal_coverage` and `data_subset` leave.

        Args:
            ahead: steps from the newest input to the last target; None: `dt`.

        Raises:
            DataError: no sample is left.
        """
        split = self.splits["train"]
        ahead = section.dt if ahead is None else ahead
        starts = split.starts(sequence_length, ahead)
        if section.temporal_coverage:
            starts = starts[starts >= self._coverage_start(split, section.temporal_coverage)]
            if not starts.size:
                raise DataError(
                    f"no training sample lies within data.temporal_coverage = {section.temporal_coverage!r}",
                    where=self.data_dir / "train",
                    rule=f"a sample needs {sequence_length + ahead} states",
                )
        return starts[stratified_subset(split.years()[starts], section.data_subset)]

    @staticmethod
    def _coverage_start(split: Split, coverage: str) -> int:
        """First state within the last `coverage` of a split."""
        hours = float(coverage[:-1]) * DAYS_PER_SPAN[coverage[-1]] * 24
        if split.time is None:
            return max(0, split.states - round(hours / split.step_hours))
        end = split.time[-1] + np.timedelta64(round(split.step_hours * 3600), "s")
        return int(np.searchsorted(split.time, end - np.timedelta64(round(hours * 3600), "s")))


def open_archive(section: DataSection, splits: Sequence[str] = SPLITS) -> Archive:
    """Read the headers of an archive and check that its files agree.

    Raises:
        DataError: a split is missing or empty, a file is damaged, files disagree, statistics do not fit.
        ConfigError: `data.channels` or `data.extra_inputs` names what the archive does not have, or `data.coarsen` does
            not fit.
    """
    data_dir = Path(section.data_dir)
    if not data_dir.is_dir():
        raise DataError(
            "no such folder",
            where=f"data.data_dir = {data_dir}",
            rule="an archive holds train/ valid/ test/*.h5 and stats/",
            fix="set data.data_dir, or make a synthetic archive: python -m weather.synthesize --data_dir DIR",
        )
    opened = {name: open_split(data_dir, name) for name in splits}
    first, first_step = opened[splits[0]].headers[0], opened[splits[0]].step_hours
    for split in opened.values():
        check_agreement(first, split.headers[0])
        if not np.isclose(split.step_hours, first_step, rtol=STEP_TOLERANCE):
            raise DataError(
                f"the time step is {split.step_hours:g} h, but {first_step:g} h in '{splits[0]}'",
                where=data_dir / split.name,
                rule="dt counts steps, so all splits have the same",
            )
    indices = select_channels(section.channels, first)
    coarsening = plan_coarsening(section, first)
    grid = first if coarsening is None else coarsening
    return Archive(
        data_dir=data_dir,
        splits={name: replace(split, coarsening=coarsening) for name, split in opened.items()},
        channel_indices=indices,
        channels=tuple(first.channels[i] for i in indices),
        channel_units=tuple(first.channel_units[i] for i in indices),
        latitude=grid.latitude,
        longitude=grid.longitude,
        statistics=read_statistics(data_dir, first.channels, indices),
        static_inputs=read_static_inputs(section, [split.headers[0] for split in opened.values()], coarsening),
        coarsened_by=None if coarsening is None else section.coarsen_by,
    )


def open_split(data_dir: Path, name: str) -> Split:
    """Read the headers of one split.

    Raises:
        DataError: the folder is missing or empty, or its files disagree or overlap in time.
    """
    return join_files(name, [read_header(path) for path in split_paths(data_dir, name)])


def split_paths(data_dir: Path, name: str) -> list[Path]:
    """The files of a split by name, numbers counted as numbers.

    Raises:
        DataError: the folder is missing or empty.
    """
    folder = data_dir / name
    if not folder.is_dir():
        raise DataError(f"the split '{name}' is missing", where=folder, rule="an archive holds train/ valid/ test/")
    paths = sorted(folder.glob("*.h5"), key=_natural)
    if not paths:
        raise DataError(f"no .h5 file in the split '{name}'", where=folder)
    return paths


def join_files(name: str, headers: Sequence[Header]) -> Split:
    """The split that these files make, in order of time.

    Raises:
        DataError: the files disagree or overlap in time.
    """
    headers = list(headers)
    for header in headers[1:]:
        check_agreement(headers[0], header)
    stamped = [header.time is not None for header in headers]
    if any(stamped) and not all(stamped):
        raise DataError(
            "no time stamps, while other files of the split have them", where=headers[stamped.index(False)].path
        )
    if all(stamped):
        headers.sort(key=lambda header: header.time[0])  # type: ignore[index]
    first_states = np.concatenate([[0], np.cumsum([header.states for header in headers])])
    time, consecutive, step_hours = _time_axis(headers, first_states)
    return Split(name, tuple(headers), first_states, time, consecutive, step_hours)


def _time_axis(headers: list[Header], first_states: np.ndarray) -> tuple[np.ndarray | None, np.ndarray, float]:
    """Time stamps, which states are consecutive, and the step in hours."""
    consecutive = np.ones(first_states[-1] - 1, bool)
    seams = first_states[1:-1] - 1
    if headers[0].time is None:
        consecutive[seams] = False
        return None, consecutive, DEFAULT_STEP_HOURS
    time = np.concatenate([header.time for header in headers])  # type: ignore[misc]
    hours = np.diff(time).astype(np.int64) / 3600
    for seam in seams[hours[seams] <= 0]:
        file = int(np.searchsorted(first_states, seam + 1, side="right")) - 1
        raise DataError(
            f"its first state ({time[seam + 1]}) is not after the last of {headers[file - 1].path.name} ({time[seam]})",
            where=headers[file].path,
            rule="files of a split do not overlap in time",
        )
    within = np.delete(hours, seams)
    step = float(np.median(within if within.size else hours)) if hours.size else DEFAULT_STEP_HOURS
    return time, hours <= GAP * step, step


def select_channels(wanted: str | list[str | int], header: Header) -> tuple[int, ...]:
    """Indices of the channels that `data.channels` names.

    Raises:
        ConfigError: an unknown name or an index out of range.
    """
    if wanted == "all":
        return tuple(range(len(header.channels)))
    indices = []
    for channel in wanted:
        index = header.channels.index(channel) if channel in header.channels else channel
        if not isinstance(index, int) or not 0 <= index < len(header.channels):
            raise ConfigError(
                f"data.channels: no channel {channel!r}",
                where=header.path,
                rule=f"it has {', '.join(f'{i}: {name}' for i, name in enumerate(header.channels))}",
            )
        indices.append(index)
    if len(set(indices)) != len(indices):
        raise ConfigError("data.channels names a channel twice, once by name and once by index", where=header.path)
    return tuple(indices)


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sort key that puts year_9 before year_10."""
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", path.name)]
