"""What is known of an archive's statistics, and of what: enough to merge two archives without reading a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from weather.data.moments import Moments
from weather.data.year_file import Header
from weather.errors import DataError

VERSION = 1
DEFINITION = (
    "over all states and all grid points alike, without area weights; std is the root of the mean squared deviation "
    "(divisor: the count); differences are x(t + lead) - x(t) over all pairs of states with no gap between them"
)
STEP_TOLERANCE = 0.2  # as between the splits of an archive, whose steps may waver by an hour


@dataclass(frozen=True)
class CountedFile:
    """A year file whose states are counted.

    Attributes:
        file: below the archive's folder, or a whole path where another archive was merged.
        begin, end: first and last time stamp, ISO 8601; None: unknown.
    """

    file: str
    states: int
    bytes: int
    begin: str | None
    end: str | None


@dataclass(frozen=True)
class Grid:
    """Where the values are: size, and the coordinates' ends in degrees."""

    latitudes: int
    longitudes: int
    latitude: tuple[float, float]
    longitude: tuple[float, float]

    @classmethod
    def of(cls, header: Header) -> Grid:
        ends = [(float(values[0]), float(values[-1])) for values in (header.latitude, header.longitude)]
        return cls(*header.grid, *ends)

    def agrees(self, other: Grid) -> bool:
        mine, others = ((*grid.latitude, *grid.longitude) for grid in (self, other))
        sizes = (self.latitudes, self.longitudes) == (other.latitudes, other.longitudes)
        return sizes and np.allclose(mine, others, atol=1e-3)


@dataclass(frozen=True)
class StatisticsRecord:
    """Moments of the states, and of their differences by lead.

    Attributes:
        channels, channel_units: [C].
        step_hours: time step of the archive, which leads count.
        files: whose states are counted, in order of time.
        years: calendar years of these states, rising; empty where there are no time stamps.
        moments: of the states.
        differences: of x(t + lead) - x(t), by lead in time steps.
    """

    channels: tuple[str, ...]
    channel_units: tuple[str, ...]
    grid: Grid
    step_hours: float
    files: tuple[CountedFile, ...]
    years: tuple[int, ...]
    moments: Moments
    differences: Mapping[int, Moments] = field(default_factory=dict)

    @property
    def states(self) -> int:
        return sum(file.states for file in self.files)

    def merge(self, other: StatisticsRecord) -> StatisticsRecord:
        """The statistics of both together. Leads that one of them lacks are left out.

        Raises:
            DataError: channels, units, grid or time step differ, or a file is in both.
        """
        self._check(other)
        together = Moments(len(self.channels))
        together.merge(self.moments)
        together.merge(other.moments)
        differences = {}
        for lead in sorted(self.differences.keys() & other.differences.keys()):
            differences[lead] = Moments(len(self.channels))
            differences[lead].merge(self.differences[lead])
            differences[lead].merge(other.differences[lead])
        return StatisticsRecord(
            channels=self.channels,
            channel_units=self.channel_units,
            grid=self.grid,
            step_hours=self.step_hours,
            files=(*self.files, *other.files),
            years=tuple(sorted({*self.years, *other.years})),
            moments=together,
            differences=differences,
        )

    def _check(self, other: StatisticsRecord) -> None:
        for what, mine, others in (
            ("channels", self.channels, other.channels),
            ("units", self.channel_units, other.channel_units),
        ):
            if mine != others:
                raise DataError(
                    f"{what} {', '.join(others)} beside {', '.join(mine)}",
                    where="statistics to be merged",
                    rule=f"both archives have the same {what} in the same order",
                )
        if not self.grid.agrees(other.grid):
            raise DataError(
                f"grid {_words(other.grid)} beside {_words(self.grid)}",
                where="statistics to be merged",
                rule="both archives have the same grid: each point counts alike",
            )
        if not np.isclose(self.step_hours, other.step_hours, rtol=STEP_TOLERANCE):
            raise DataError(
                f"a time step of {other.step_hours:g} h beside {self.step_hours:g} h",
                where="statistics to be merged",
                rule="both archives have the same time step",
            )
        twice = sorted({file.file for file in self.files} & {file.file for file in other.files})
        if twice:
            raise DataError(
                f"{twice[0]} is counted in both", where="statistics to be merged", rule="each state counts once"
            )

    def to_json(self) -> dict[str, Any]:
        """What stands in ``statistics.json``. Numbers are float64 and come back as they are."""
        return {
            "version": VERSION,
            "definition": DEFINITION,
            "area_weighted": False,
            "states": self.states,
            "years": list(self.years),
            "step_hours": self.step_hours,
            "grid": asdict(self.grid),
            "files": [asdict(file) for file in self.files],
            "channels": [
                {"name": name, "unit": unit, **values}
                for name, unit, values in zip(
                    self.channels, self.channel_units, moments_to_json(self.moments), strict=True
                )
            ],
            "differences": {
                str(lead): {
                    "lead_hours": lead * self.step_hours,
                    "channels": [
                        {"name": name, **values}
                        for name, values in zip(self.channels, moments_to_json(moments), strict=True)
                    ],
                }
                for lead, moments in self.differences.items()
            },
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> StatisticsRecord:
        """The inverse of `to_json`; KeyError, TypeError or ValueError where something else is written."""
        if written["version"] != VERSION:
            raise ValueError(f"version {written['version']} is not {VERSION}")
        grid = written["grid"]
        return cls(
            channels=tuple(str(channel["name"]) for channel in written["channels"]),
            channel_units=tuple(str(channel["unit"]) for channel in written["channels"]),
            grid=Grid(
                int(grid["latitudes"]), int(grid["longitudes"]), tuple(grid["latitude"]), tuple(grid["longitude"])
            ),
            step_hours=float(written["step_hours"]),
            files=tuple(CountedFile(**file) for file in written["files"]),
            years=tuple(int(year) for year in written["years"]),
            moments=moments_from_json(written["channels"]),
            differences={
                int(lead): moments_from_json(each["channels"]) for lead, each in written["differences"].items()
            },
        )


def moments_to_json(moments: Moments) -> list[dict[str, Any]]:
    """One dict a channel: count, mean, std, sum of squared deviations, minimum, maximum."""
    return [
        {
            "count": moments.count,
            "mean": float(moments.mean[channel]),
            "std": float(moments.stds[channel]),
            "squares": float(moments.squares[channel]),
            "minimum": float(moments.minimum[channel]),
            "maximum": float(moments.maximum[channel]),
        }
        for channel in range(len(moments.mean))
    ]


def moments_from_json(channels: Sequence[Mapping[str, Any]]) -> Moments:
    """The inverse of `moments_to_json`."""
    moments = Moments(len(channels))
    moments.count = int(channels[0]["count"])
    for name in ("mean", "squares", "minimum", "maximum"):
        setattr(moments, name, np.array([channel[name] for channel in channels], np.float64))
    return moments


def _words(grid: Grid) -> str:
    south, north = grid.latitude
    west, east = grid.longitude
    return f"{grid.latitudes} x {grid.longitudes} (latitude {south:g} to {north:g}, longitude {west:g} to {east:g})"
