"""Initial times: how they are written, and where an archive has the states that a forecast begins with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from weather.data.archive import Archive, Split
from weather.errors import ConfigError, DataError
from weather.verification.leads import parse_lead

FEW = 3  # times that a message names
MOST = 10**6  # times of one command: more than a century, hour by hour
WRITTEN = re.compile(r"(\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d)?)?)?)(Z|\+00:00)?")


@dataclass(frozen=True)
class InitialState:
    """Where a forecast begins.

    Attributes:
        split: that holds its states.
        newest: number of the state at the initial time.
    """

    split: Split
    newest: int


def parse_initial_times(text: str) -> np.ndarray:
    """Initial times [T] datetime64[s], rising, each once, from `2020-01-01T00,2020-02-01/2020-03-01/12h`.

    Raises:
        ConfigError: something else is written.
    """
    found: set[np.datetime64] = set()
    for word in text.split(","):
        parts = word.strip().split("/")
        if len(parts) == 1:
            found.add(_time(parts[0], text))
        elif len(parts) == 3:
            first, last = (_time(part, text) for part in parts[:2])
            every = np.timedelta64(round(parse_lead(parts[2], "--init FROM/TO/EVERY:") * 3600), "s")
            if last < first or not every:
                raise _unreadable(word, text)
            if (last - first) // every >= MOST:
                raise ConfigError(f"'{word}' names too many times", where=f"--init {text}", rule=f"at most {MOST}")
            found.update(np.arange(first, last + np.timedelta64(1, "s"), every))
        else:
            raise _unreadable(word, text)
    return np.array(sorted(found), "datetime64[s]")


def _time(word: str, text: str) -> np.datetime64:
    written = WRITTEN.fullmatch(word.strip())
    if written is None:  # NumPy reads more: `now`, bare years, and 20200101 as one
        raise _unreadable(word, text)
    try:
        return np.datetime64(written[1], "s")
    except ValueError as error:
        raise _unreadable(word, text) from error


def _unreadable(word: str, text: str) -> ConfigError:
    return ConfigError(
        f"'{word}' is no initial time",
        where=f"--init {text}",
        rule="times in UTC such as 2020-01-01T00, separated by commas, or FROM/TO/EVERY such as "
        "2020-01-01/2020-01-31/12h",
    )


def find_states(archive: Archive, times: np.ndarray, sequence_length: int) -> list[InitialState]:
    """Where the states are that forecasts from `times` begin with; test years are asked first.

    Raises:
        ConfigError: the archive has no time stamps, or lacks a time; names the nearest that it has.
        DataError: a state before an initial time is missing, and the model sees several.
    """
    splits = [archive.splits[name] for name in ("test", "valid", "train") if name in archive.splits]
    if any(split.time is None for split in splits):
        raise ConfigError(
            "the archive has no time stamps",
            where=archive.data_dir,
            rule="a forecast begins at a time",
            fix="write 'time' with units into its files, as python -m weather.synthesize does",
        )
    found: list[InitialState] = []
    absent: list[np.datetime64] = []
    for time in times:
        state = find_state(splits, time)
        if state is None:
            absent.append(time)
        else:
            _check_sequence(state, sequence_length)
            found.append(state)
    if absent:
        _refuse(archive, splits, absent, len(times))
    return found


def find_state(splits: Sequence[Split], time: np.datetime64) -> InitialState | None:
    """The state at a time, or None."""
    for split in splits:
        assert split.time is not None
        index = int(np.searchsorted(split.time, time))
        if index < split.states and split.time[index] == time:
            return InitialState(split, index)
    return None


def _check_sequence(state: InitialState, sequence_length: int) -> None:
    first = state.newest - sequence_length + 1
    if first >= 0 and state.split.consecutive[first : state.newest].all():
        return
    assert state.split.time is not None
    raise DataError(
        f"no {sequence_length} consecutive states up to {state.split.time[state.newest]}",
        where=state.split.describe(state.newest),
        rule=f"the model forecasts from {sequence_length} states without a gap",
        fix="begin later, after the gap or after the first states of the archive",
    )


def _refuse(archive: Archive, splits: Sequence[Split], absent: list[np.datetime64], asked: int) -> None:
    every = np.sort(np.concatenate([split.time for split in splits if split.time is not None]))
    nearest = every[np.argmin(np.abs(every - absent[0]))]
    named = ", ".join(map(str, absent[:FEW])) + (f" and {len(absent) - FEW} more" if len(absent) > FEW else "")
    raise ConfigError(
        f"--init: {len(absent)} of {asked} initial time(s) are not in the archive: {named}",
        where=archive.data_dir,
        rule=f"it has {len(every)} states from {every[0]} to {every[-1]}",
        fix=f"nearest to {absent[0]}: {nearest}",
    )
