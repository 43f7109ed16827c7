"""What an archive of synthetic weather is to hold, checked before anything is computed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weather.data.quasigeostrophic import CHANNELS
from weather.errors import ConfigError

VERSION = 1  # of the model and its parameters: another version makes other weather of the same request
MANIFEST = "synthetic.json"  # what was asked for; it has this name last of all, so an archive without it is incomplete
UNFINISHED = f"{MANIFEST}.partial"
SPIN_UP_DAYS = 60  # from jets and noise to weather; the eddies have their strength after about 40
SMALLEST_GRID = 8


@dataclass(frozen=True)
class Request:
    """What an archive is to hold; equal requests make equal archives."""

    height: int
    width: int
    channels: tuple[str, ...]
    years: dict[str, list[int]]  # of each split
    states_per_year: int | None  # None: whole calendar years
    step_hours: int
    seed: int
    truncation: int  # of the model
    version: int = VERSION

    @property
    def files(self) -> list[tuple[str, int]]:
        """(split, year) of every year file."""
        return [(split, year) for split, years in self.years.items() for year in years]

    @property
    def bytes_per_state(self) -> int:
        """Of the fields, float32."""
        return 4 * len(self.channels) * self.height * self.width

    def states(self, year: int) -> int:
        """Number of states in the file of `year`."""
        return self.states_per_year or days_in_year(year) * 24 // self.step_hours

    def days_to_simulate(self, years: list[int]) -> float:
        """Of all `years` side by side, until the longest has ended."""
        return len(years) * (SPIN_UP_DAYS + max(map(self.states, years)) * self.step_hours / 24)

    def check(self) -> None:
        """Raise a `ConfigError` if no such archive can be made."""
        for key, value, lowest in (
            ("height", self.height, SMALLEST_GRID),
            ("width", self.width, SMALLEST_GRID),
            ("truncation", self.truncation, 10),
            ("seed", self.seed, 0),
        ):
            if value < lowest:
                raise ConfigError(f"{value} is too small", where=key, rule=f"at least {lowest}")
        if self.step_hours < 1 or 24 % self.step_hours:
            raise ConfigError(f"{self.step_hours} hours", where="step_hours", rule="a divisor of 24")
        if self.states_per_year is not None:
            longest = min(days_in_year(year) for _, year in self.files) * 24 // self.step_hours - 1
            if not 2 <= self.states_per_year <= longest:
                raise ConfigError(f"{self.states_per_year} states of {self.step_hours} h", where="states_per_year",
                                  rule=f"2 to {longest}, so that there is a gap before the next year")  # fmt: skip


def days_in_year(year: int) -> int:
    """365 or 366."""
    return int((np.datetime64(f"{year + 1:04d}-01-01") - np.datetime64(f"{year:04d}-01-01")).astype(int))


def chosen_channels(channels: int | Sequence[str] | None) -> tuple[str, ...]:
    """Channel names, given them, their number, or None for all.

    Raises:
        ConfigError: the model has no such channel, or not as many.
    """
    known = tuple(CHANNELS)
    if channels is None:
        return known
    if isinstance(channels, int):
        if not 1 <= channels <= len(known):
            raise ConfigError(f"{channels} channels cannot be made", where="channels",
                              rule=f"1 to {len(known)}, in this order: {', '.join(known)}")  # fmt: skip
        return known[:channels]
    chosen = (channels,) if isinstance(channels, str) else tuple(channels)
    for name in chosen:
        if name not in CHANNELS:
            near = difflib.get_close_matches(name, known, 1)
            raise ConfigError(f"no channel '{name}'", where="channels", rule=f"the model knows {', '.join(known)}",
                              fix=f"did you mean '{near[0]}'?" if near else "")  # fmt: skip
    if not chosen or len(set(chosen)) < len(chosen):
        raise ConfigError(f"channels {list(chosen)}", where="channels", rule="at least one channel, each of them once")
    return chosen


def split_years(first_year: int, counts: dict[str, int], *, apart: int) -> dict[str, list[int]]:
    """The calendar years of each split, `apart` from one another, one split after the other."""
    years, next_year = {}, first_year
    for split, count in counts.items():
        if count < (split == "train"):
            raise ConfigError(f"{count} years", where=f"{split}_years", rule="at least 1 year to train, none below 0")
        years[split] = [next_year + apart * index for index in range(count)]
        next_year += apart * count
    if first_year < 1 or next_year > 9999:
        raise ConfigError(f"years {first_year} to {next_year - apart}", where="first_year", rule="years are 1 to 9998")
    return years
