"""Channels as variables of a forecast file: the names of WeatherBench 2, a level where a channel has one, CF names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weather.data.conversion.names import ALIASES, STANDARD_NAMES, plain_units

#: CF standard name of a short name: the first that a source may carry, and those of quantities near the surface.
#: (CF standard name table; pairs as in the ECMWF parameter database.)
CF_NAMES: Mapping[str, str] = {
    **{short: standard for standard, short in reversed(list(STANDARD_NAMES.items()))},
    "t2m": "air_temperature",
    "d2m": "dew_point_temperature",
    "u10": "eastward_wind",
    "v10": "northward_wind",
    "skt": "surface_temperature",
    "tp": "lwe_thickness_of_precipitation_amount",
    "tcwv": "atmosphere_mass_content_of_water_vapor",
    "tcc": "cloud_area_fraction",
}

#: Short names of quantities that are on pressure levels.
ON_LEVELS = ("z", "gh", "t", "u", "v", "w", "q", "r", "vo", "d", "pv", "o3", "clwc", "ciwc", "cc")


@dataclass(frozen=True)
class Variable:
    """A physical variable and the channels it is made of.

    Attributes:
        name: as WeatherBench 2 has it; the channel's own where it is not known.
        channels: positions in the forecast's channels.
        levels: [channels] in hPa, rising; empty: the variable has no level.
        units: as the archive says them; empty: unknown.
        standard_name: of the CF table; empty: unknown.
        short_names: [channels] of the archive.
    """

    name: str
    channels: tuple[int, ...]
    levels: tuple[float, ...]
    units: str
    standard_name: str
    short_names: tuple[str, ...]


@dataclass(frozen=True)
class ChannelName:
    """What a channel's name says: the short name of a quantity, and its level in hPa or None."""

    short: str
    level: float | None


def read_channel(channel: str) -> ChannelName:
    """`z500` is geopotential at 500 hPa, `t2m` a quantity of its own, and `phi_s4` nothing that is known.

    `u10` is the wind at 10 m, as in ERA5, `u10hPa` that at 10 hPa, and `u100` that at 100 hPa: the wind at 100 m is
    `u100m` (`weather.data.conversion.names`).
    """
    for short in ON_LEVELS:
        level = channel[len(short) :]
        match = re.fullmatch(r"([1-9]\d*(?:\.\d+)?)(?:hPa)?", level)
        if channel.startswith(short) and match and channel not in ALIASES:
            return ChannelName(short, float(match[1]))
    return ChannelName(channel, None)


def variables_of(channels: Sequence[str], units: Sequence[str]) -> tuple[Variable, ...]:
    """The variables that channels make, in the order of their first channels.

    Channels of one quantity on several levels make one variable if they have the same units.
    """
    groups: dict[tuple[str, bool, str], list[int]] = {}
    read = [read_channel(channel) for channel in channels]
    for index, (each, unit) in enumerate(zip(read, units, strict=True)):
        groups.setdefault((each.short, each.level is not None, plain_units(unit)), []).append(index)
    made: list[Variable] = []
    for (short, has_level, unit), members in groups.items():
        name = ALIASES[short][0] if short in ALIASES and ALIASES[short] else short
        ordered = sorted(members, key=lambda index: read[index].level or 0.0)
        apart = any(variable.name == name for variable in made)  # the same quantity in other units
        for piece in [[index] for index in ordered] if apart else [ordered]:
            made.append(
                Variable(
                    name=channels[piece[0]] if apart else name,
                    channels=tuple(piece),
                    levels=tuple(float(read[i].level or 0.0) for i in piece) if has_level and not apart else (),
                    units=unit,
                    standard_name=CF_NAMES.get(short, ""),
                    short_names=tuple(channels[i] for i in piece),
                )
            )
    return tuple(made)


def find_channel(variables: Sequence[Variable], channel: str) -> tuple[Variable, int] | None:
    """The variable that a channel is in and its position there."""
    for variable in variables:
        if channel in variable.short_names:
            return variable, variable.short_names.index(channel)
    return None
