"""Times of several holdings joined to one axis: which state lies where."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from weather.data.conversion.channels import Group
from weather.errors import DataError

Differs = Callable[[Group, int, int, int, int], str]  # what differs between two places of one time; empty: nothing


@dataclass(frozen=True)
class Places:
    """Where the states of a group lie.

    Attributes:
        times: [states] datetime64[s], increasing.
        holding: [states] number in the group.
        position: [states] position in that holding.
    """

    times: np.ndarray = field(compare=False)
    holding: np.ndarray = field(compare=False)
    position: np.ndarray = field(compare=False)

    def of(self, times: np.ndarray) -> Places:
        """The places of these times, all of which are here."""
        index = np.searchsorted(self.times, times)
        return Places(times, self.holding[index], self.position[index])


def locate(group: Group, differs: Differs) -> tuple[Places, list[str]]:
    """Sort the states of a group by time and drop doubles, which must hold the same fields.

    Args:
        differs: compares the fields at two places: (group, holding, position, holding, position).

    Returns:
        The places, and notes of what was unsorted or dropped.

    Raises:
        DataError: two fields of one time differ.
    """
    lengths = [len(holding.times) for holding in group.holdings]  # type: ignore[arg-type]
    times = np.concatenate([holding.times for holding in group.holdings])  # type: ignore[misc]
    number = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(length) for length in lengths])
    notes = []
    for holding in group.holdings:
        assert holding.times is not None
        steps = np.diff(holding.times)
        if (steps < np.timedelta64(0, "s")).any():
            notes.append(f"{holding.where}: times were not in order, and are sorted")
    order = np.argsort(times, kind="stable")
    times, number, position = times[order], number[order], position[order]
    kept = np.concatenate([[True], times[1:] != times[:-1]])
    doubles = np.flatnonzero(~kept)
    firsts = np.maximum.accumulate(np.where(kept, np.arange(len(kept)), 0))[doubles]
    for double, first in zip(doubles.tolist(), firsts.tolist(), strict=True):
        what = differs(group, number[first], position[first], number[double], position[double])
        if what:
            one, other = group.holdings[number[first]], group.holdings[number[double]]
            raise DataError(
                f"two fields of {times[double]} differ ({what}): at index {position[first]} here, and at index "
                f"{position[double]} of {'the same' if one is other else other.source.path}",
                where=one.where,
                rule="a time that is there twice holds the same fields",
                fix="leave one of the files out, name the file (--variables FILE:NAME=NEW), or choose: --select step=6",
            )
    if doubles.size:
        notes.append(f"{group.name}: {doubles.size} state(s) were there twice with the same fields, first "
                     f"{times[doubles[0]]}: taken once")  # fmt: skip
    return Places(times[kept], number[kept], position[kept]), notes


def common_times(groups: Sequence[Group], places: Sequence[Places]) -> tuple[np.ndarray, list[str]]:
    """Times at which every group has its fields, and notes of those that are left out.

    Raises:
        DataError: there is no such time.
    """
    times = places[0].times
    for place in places[1:]:
        times = np.intersect1d(times, place.times, assume_unique=True)
    if not times.size:
        spans = ", ".join(f"{group.name} {place.times[0]} to {place.times[-1]}"
                          for group, place in zip(groups, places, strict=True))  # fmt: skip
        raise DataError("no time at which all variables are there", where=groups[0].holdings[0].source.path,
                        rule=f"a state has all channels; {spans}", fix="leave a variable or a file out")  # fmt: skip
    notes = []
    for group, place in zip(groups, places, strict=True):
        # Equally many are the same; to look each up would take long where there are a million.
        alone = place.times[~np.isin(place.times, times)] if len(place.times) > len(times) else times[:0]
        if alone.size:
            notes.append(f"{group.name}: {alone.size} state(s) are left out as gaps, the first {alone[0]}, "
                         "for another variable lacks them")  # fmt: skip
    return times, notes


def thin(times: np.ndarray, step_hours: float) -> np.ndarray:
    """Times at whole multiples of `step_hours` from midnight.

    Raises:
        DataError: there is none.
    """
    seconds = (times - times.astype("datetime64[D]")).astype("timedelta64[s]").astype(np.int64)
    kept = times[seconds % round(step_hours * 3600) == 0]
    if not kept.size:
        raise DataError(f"no state at a multiple of {step_hours:g} hours from midnight", where="--step_hours",
                        rule=f"the first are {', '.join(map(str, times[:3]))}")  # fmt: skip
    return kept


def count_gaps(times: np.ndarray) -> tuple[np.timedelta64, int]:
    """The usual step, and how many states are missing between the first and the last."""
    if len(times) < 2:
        return np.timedelta64(0, "s"), 0
    steps = np.diff(times)
    step = np.sort(steps)[(len(steps) - 1) // 2]
    missing = np.rint(steps[steps > 1.5 * step] / step).astype(np.int64) - 1
    return step, int(missing.sum())
