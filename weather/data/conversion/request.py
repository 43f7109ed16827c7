"""What a conversion is asked for: checked before any source is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from weather.errors import ConfigError

SPLITS = ("train", "valid", "test")
FILLS = ("refuse", "mean", "nearest")
MEMORY_UNITS = {"": 2**20, "m": 2**20, "mb": 2**20, "g": 2**30, "gb": 2**30}


@dataclass(frozen=True)
class Asked:
    """One word of ``--variables``: ``[FILE:]NAME[=NEW]``.

    Attributes:
        file: glob of file names it is to be taken from; empty: from any.
        name: as in the source, or any known name.
        rename: what its channels are called; empty: its short name.
    """

    file: str
    name: str
    rename: str


@dataclass(frozen=True)
class SplitRule:
    """Which states train, validate and test: by years, by first days, or by shares; what is not set is empty."""

    years: Mapping[str, tuple[int, ...]]
    starts: Mapping[str, str]
    shares: tuple[float, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Those that have states: all, but such as a share of 0 leaves out."""
        return tuple(split for split, share in zip(SPLITS, self.shares or (1.0,) * 3, strict=True) if share)


@dataclass(frozen=True)
class Request:
    """All that decides what is in the archive; equal requests on equal sources make equal archives."""

    sources: tuple[str, ...]
    variables: tuple[Asked, ...]  # none: all
    levels: tuple[float, ...]  # hPa for pressures; none: all
    static: tuple[Asked, ...]
    split: SplitRule
    resolution: str
    fill: str
    drop_missing: bool
    chunked: bool
    step_hours: float
    select: Mapping[str, str]
    time_units: str
    level_units: str

    def record(self) -> dict[str, Any]:
        """As it is written into the provenance and compared with."""
        return asdict(self)


def parse_variables(words: Sequence[str], option: str = "--variables") -> tuple[Asked, ...]:
    """``t2m``, ``UWND=u10`` or ``U500storm.cdf:u=u500``, separated by spaces or commas.

    Raises:
        ConfigError: a word says nothing, or twice the same.
    """
    asked = []
    for word in _split(words):
        match = re.fullmatch(r"(?:(.+):)?([^:=]+)(?:=([^:=/]+))?", word)
        if not match:
            raise ConfigError(f"{word!r}", where=option, rule="NAME, NAME=NEW or FILE:NAME=NEW")
        asked.append(Asked(match[1] or "", match[2], match[3] or ""))
    if len(set(asked)) < len(asked):
        raise ConfigError(f"{' '.join(words)}: one of them is there twice", where=option)
    return tuple(asked)


def parse_levels(words: Sequence[str]) -> tuple[float, ...]:
    """Levels as numbers, each once.

    Raises:
        ConfigError: no numbers, or one twice.
    """
    try:
        levels = tuple(float(word) for word in _split(words))
    except ValueError as error:
        raise ConfigError(f"{error}", where="--levels", rule="numbers such as 500 850, in hPa for pressures")
    if len(set(levels)) < len(levels):
        raise ConfigError("a level is there twice", where="--levels")
    return levels


def parse_years(words: Sequence[str], option: str) -> tuple[int, ...]:
    """``1979-2016 2018`` as years.

    Raises:
        ConfigError: not of that form, or descending.
    """
    years: list[int] = []
    for word in _split(words):
        match = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise ConfigError(f"{word!r}", where=option, rule="years such as 1979-2016 or 1979,1981-1990")
        years += range(first, last + 1)
    return tuple(sorted(set(years)))


def parse_split(years: Mapping[str, Sequence[str]], starts: Mapping[str, str], shares: str) -> SplitRule:
    """How states are split.

    Args:
        years: words of ``--years``, ``--valid_years`` and ``--test_years`` by split.
        starts: ``--valid_from`` and ``--test_from`` by split, empty where not given.
        shares: ``--split``, such as ``0.7,0.15,0.15``.

    Raises:
        ConfigError: two of the three ways at once, or one of them is not of its form.
    """
    named = {split: parse_years(words, _option(split)) for split, words in years.items() if words}
    begins = {split: _day(text, f"--{split}_from") for split, text in starts.items() if text}
    apart = {split for split in named if split != "train"}
    if bool(apart) + bool(begins) + bool(shares) > 1:
        raise ConfigError("years, first days and shares at once", where="--valid_years, --valid_from, --split",
                          rule="one of the three splits the states")  # fmt: skip
    if apart and (len(apart) < 2 or "train" not in named):
        missing = [_option(split) for split in SPLITS if split not in named]
        raise ConfigError(f"{' and '.join(missing)} not given", where=" ".join(map(_option, apart)),
                          rule="either all splits have their years, or --years alone")  # fmt: skip
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        both = set(named.get(one, ())) & set(named.get(other, ()))
        if both:
            raise ConfigError(f"{min(both)} is in '{one}' and in '{other}'", where=f"{_option(one)} {_option(other)}",
                              rule="a year belongs to one split")  # fmt: skip
    if begins and (len(begins) < 2 or begins["valid"] >= begins["test"]):
        raise ConfigError(
            " ".join(f"--{split}_from {day}" for split, day in begins.items()),
            where="--valid_from --test_from",
            rule="both are given, and validation is before the test",
        )
    return SplitRule(named, begins, _shares(shares))


def _option(split: str) -> str:
    return "--years" if split == "train" else f"--{split}_years"


def _day(text: str, option: str) -> str:
    try:
        return str(np.datetime64(text, "s"))
    except ValueError:
        raise ConfigError(f"{text!r} is no date", where=option, rule="such as 1991-01-01 or 1991-01-01T12")


def _shares(text: str) -> tuple[float, ...]:
    if not text:
        return ()
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or min(shares) < 0 or not shares[0] or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(
            f"{text!r}",
            where="--split",
            rule="three shares that add up to 1: 0.7,0.15,0.15, or 1,0,0 for training states alone",
        )
    return shares


def parse_fill(text: str) -> str:
    """Raise a ConfigError unless it is a rule or a number."""
    if text not in FILLS:
        try:
            if not np.isfinite(float(text)):
                raise ValueError
        except ValueError:
            raise ConfigError(f"{text!r}", where="--fill", rule=f"{', '.join(FILLS)} or a number")
    return text


def parse_select(words: Sequence[str]) -> dict[str, str]:
    """``number=0``, ``member=r1i1p1f1`` and the like.

    Raises:
        ConfigError: not of that form.
    """
    chosen = {}
    for word in _split(words):
        dim, _, value = word.partition("=")
        if not dim or not value:
            raise ConfigError(f"{word!r}", where="--select", rule="DIMENSION=VALUE, such as number=0")
        chosen[dim] = value
    return chosen


def parse_memory(text: str) -> int:
    """Bytes of ``2GB``, ``1500MB`` or ``1500`` (MB).

    Raises:
        ConfigError: not of that form.
    """
    match = re.fullmatch(r"([\d.]+)\s*([a-zA-Z]*)", text.strip())
    unit = MEMORY_UNITS.get(match[2].lower()) if match else None
    try:
        return int(float(match[1]) * unit) if match and unit else _no_memory(text)
    except ValueError:
        return _no_memory(text)


def _no_memory(text: str) -> int:
    raise ConfigError(f"{text!r}", where="--memory", rule="a number with MB or GB, such as 2GB")


def _split(words: Sequence[str]) -> list[str]:
    return [part for word in words for part in word.split(",") if part]
