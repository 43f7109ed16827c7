"""From what is asked for and what the sources hold to the channels of the archive."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weather.data.conversion.holdings import Holding
from weather.data.conversion.names import ACCUMULATED, ERA5_UNITS, asked_name, plain_units
from weather.data.conversion.request import Asked
from weather.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Group:
    """Channels of one variable that lie in the same holdings, and so are read together.

    Attributes:
        name: what they are called without the level.
        channels: positions in the archive.
        levels: of each channel, None where the variable has none.
        holdings: everything that has them.
    """

    name: str
    channels: tuple[int, ...]
    levels: tuple[float | None, ...]
    holdings: tuple[Holding, ...]


@dataclass(frozen=True)
class Channels:
    """Names, units and groups of all channels, and what is to be said of them."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def choose_channels(holdings: Sequence[Holding], asked: Sequence[Asked], levels: Sequence[float]) -> Channels:
    """Channels in the order of the request, each variable from the first level asked for to the last.

    Args:
        asked: variables, some perhaps with a level (``z500``); none: all with a time, by name.
        levels: for the variables that have levels; none: all of each.

    Raises:
        ConfigError: a variable or level is not there.
        DataError: its units differ between files.
    """
    fields = [holding for holding in holdings if holding.times is not None]
    if not fields:
        raise DataError(
            "no variable has a time",
            where=holdings[0].where,
            rule="states have time stamps: a coordinate with units such as 'hours since 2000-01-01'",
        )
    asked = asked or [Asked("", name, "") for name in dict.fromkeys(holding.name for holding in fields)]
    chosen: dict[str, tuple[str, float | None, list[Holding]]] = {}
    for each in asked:
        found, level = _matching(holdings, each)
        name = each.rename or found[0].name
        for wanted, channel in _levels(found, name, [level] if level is not None else levels, each, level is not None):
            if channel in chosen:
                raise ConfigError(f"two channels would be called '{channel}'", where="--variables",
                                  fix=f"rename one: {each.name}=NEW")  # fmt: skip
            holders = [holding for holding in found if wanted is None or wanted in holding.levels.values]  # type: ignore[union-attr]
            chosen[channel] = name, wanted, holders
    if levels and all(level is None for _, level, _ in chosen.values()):
        raise ConfigError("no variable that is converted has levels", where="--levels", fix="leave it out")
    names = tuple(chosen)
    units = [_units(holders) for _, _, holders in chosen.values()]
    groups: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number, (name, _, holders) in enumerate(chosen.values()):
        groups.setdefault((name, tuple(map(id, holders))), []).append(number)
    made = []
    for (name, _), numbers in groups.items():
        members = [chosen[names[number]] for number in numbers]
        made.append(Group(name, tuple(numbers), tuple(level for _, level, _ in members), tuple(members[0][2])))
    return Channels(names, tuple(units), tuple(made), _notes(made, units))


def in_file(holdings: Sequence[Holding], asked: Asked, option: str) -> list[Holding]:
    """Holdings of the files that a word of the request names; all where it names none.

    Raises:
        ConfigError: no file is called so.
    """
    within = [holding for holding in holdings
              if not asked.file or fnmatch.fnmatch(Path(holding.source.path).name, asked.file)]  # fmt: skip
    if not within:
        raise ConfigError(
            f"no source is called '{asked.file}'",
            where=option,
            fix=did_you_mean(asked.file, {Path(holding.source.path).name for holding in holdings}),
        )
    return within


def _matching(holdings: Sequence[Holding], asked: Asked) -> tuple[list[Holding], float | None]:
    """Holdings of one variable, and the level where its name has one: ``z500``."""
    within = in_file(holdings, asked, "--variables")
    constant = sorted({holding.name for holding in within if holding.times is None})
    within = [holding for holding in within if holding.times is not None]
    exact = [holding for holding in within if holding.variable == asked.name]
    # Within a file the variable's own name decides; other files may call the same quantity otherwise.
    decided = {holding.source.path for holding in exact}
    found = [*exact, *(holding for holding in within
                       if holding.source.path not in decided and holding.name == asked_name(asked.name))]  # fmt: skip
    level = None
    match = re.fullmatch(r"(.+?)(\d+(?:\.\d+)?)(?:hPa)?", asked.name)
    if not found and match:
        level = float(match[2])
        found = [holding for holding in within if match[1] in (holding.variable, holding.name)
                 and holding.levels is not None and holding.levels.kind in ("hPa", "unknown")]  # fmt: skip
    if not found:
        known = sorted({f"{holding.name} ({holding.variable})" if holding.name != holding.variable else holding.name
                        for holding in within})  # fmt: skip
        raise ConfigError(
            f"no variable '{asked.name}' in the sources",
            where="--variables",
            rule=f"there are {', '.join(known)}"
            + (f", and without a time, for --static, {', '.join(constant)}" if constant else ""),
            fix=did_you_mean(asked.name, {h.name for h in within} | {h.variable for h in within}),
        )
    with_levels = {holding.levels is not None for holding in found}
    if len(with_levels) > 1:
        one = next(holding for holding in found if holding.levels is None)
        raise DataError(
            f"'{asked.name}' is a variable with levels, and here one without",
            where=one.where,
            fix=f"name the level, as in {found[0].name}500, or the file: "
            f"--variables '{Path(one.source.path).name}:{one.variable}=NEW'",
        )
    for holding in found:
        if holding.refusal is not None:
            raise holding.refusal
    return found, level


def _levels(
    found: list[Holding], name: str, wanted: Sequence[float], asked: Asked, named: bool
) -> list[tuple[float | None, str]]:
    """(level, channel) of a variable."""
    if found[0].levels is None:
        return [(None, name)]
    there = sorted({level for holding in found for level in holding.levels.values})  # type: ignore[union-attr]
    kinds = {holding.levels.kind for holding in found}  # type: ignore[union-attr]
    if len(kinds) > 1:
        raise DataError(f"'{asked.name}' is on levels of two kinds: {', '.join(sorted(kinds))}", where=found[0].where,
                        fix="name the file: --variables 'FILE:NAME=NEW'")  # fmt: skip
    missing = [level for level in wanted if level not in there]
    if missing:
        raise ConfigError(f"'{asked.name}' has no level {missing[0]:g}", where="--variables" if named else "--levels",
                          rule=f"it has {', '.join(f'{level:g}' for level in there)}")  # fmt: skip
    if asked.rename and (named or len(there) == 1):
        return [(wanted[0] if named else there[0], asked.rename)]
    return [(level, found[0].levels.channel(name, level)) for level in wanted or there]


def _units(holders: Sequence[Holding]) -> str:
    first = holders[0]
    for other in holders[1:]:
        if plain_units(other.units) != plain_units(first.units):
            raise DataError(
                f"its units are {other.units!r}, but {first.units!r} in {first.source.path}",
                where=other.where,
                rule="all files of a variable have the same units; none are converted",
                fix="convert one of them first, or leave it out",
            )
    return plain_units(first.units)


def _notes(groups: Sequence[Group], units: Sequence[str]) -> tuple[str, ...]:
    notes = []
    for group in groups:
        unit, name = units[group.channels[0]], group.name
        if name in ERA5_UNITS and unit != ERA5_UNITS[name]:
            notes.append(
                f"{name} has {'units ' + unit if unit else 'no units'} (in ERA5 {ERA5_UNITS[name]}): kept as it is"
            )
        if name in ACCUMULATED or group.holdings[0].step_type in ("accum", "avg"):
            notes.append(
                f"{name} is summed over time at its source: a state holds what had fallen or flowed until then"
            )
    return tuple(notes)
