"""Which states go into which file: splits by years, by first days or by shares, and one file a calendar year."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from weather.data.conversion.request import SPLITS, SplitRule
from weather.errors import ConfigError
from weather.presentation.numbers import ranges


@dataclass(frozen=True)
class YearPart:
    """The states of one file: of one split and one calendar year."""

    split: str
    year: int
    times: np.ndarray = field(compare=False)

    @property
    def name(self) -> str:
        return f"{self.split}/{self.year:04d}"

    def path(self, archive: Path) -> Path:
        return archive / self.split / f"{self.year:04d}.h5"


def split_states(times: np.ndarray, rule: SplitRule) -> tuple[list[YearPart], str]:
    """Files of all splits, and how they came about.

    With ``--years`` alone (or nothing) the last year tests, the one before validates and the others train.

    Raises:
        ConfigError: a year is not there, a split has no state, or there are fewer than three years to split.
    """
    years = times.astype("datetime64[Y]").astype(np.int64) + 1970
    if rule.years.get("train"):
        _check_years(rule, years)
        if "valid" not in rule.years:
            wanted = np.isin(years, rule.years["train"])
            times, years = times[wanted], years[wanted]
    if rule.shares or rule.starts:
        bounds = _bounds(times, rule)
        assigned = np.digitize(np.arange(len(times)), bounds)
        how = "by shares " + ", ".join(f"{share:g}" for share in rule.shares) if rule.shares else (
            f"validation from {rule.starts['valid']}, test from {rule.starts['test']}")  # fmt: skip
    else:
        by_year, how = _years_of(rule.years, years)
        assigned = np.full(len(times), -1)
        for number, split in enumerate(SPLITS):
            assigned[np.isin(years, by_year[split])] = number
    parts = []
    for number, split in enumerate(SPLITS):
        mine = assigned == number
        if not mine.any() and split not in rule.splits:
            continue
        if not mine.any():
            raise ConfigError(f"no state is in '{split}'", where="the split of the states",
                              rule=f"there are {len(times)} states from {times[0]} to {times[-1]}",
                              fix="choose others; --split 1,0,0 puts all into 'train'")  # fmt: skip
        parts += [YearPart(split, int(year), times[mine & (years == year)]) for year in np.unique(years[mine])]
    return parts, how


def _check_years(rule: SplitRule, years: np.ndarray) -> None:
    there = np.unique(years).tolist()
    for split, wanted in rule.years.items():
        missing = sorted(set(wanted) - set(there))
        if missing:
            raise ConfigError(
                f"{', '.join(map(str, missing[:10]))}{', ...' if len(missing) > 10 else ''} not in the sources",
                where="--years" if split == "train" else f"--{split}_years",
                rule=f"states at which all variables are there are of {ranges(there)}",
            )


def _years_of(named: Mapping[str, tuple[int, ...]], years: np.ndarray) -> tuple[dict[str, list[int]], str]:
    if "valid" in named:
        return {split: list(named[split]) for split in SPLITS}, "by years"
    there = np.unique(years).tolist()
    if len(there) < 3:
        raise ConfigError(
            f"{len(there)} calendar year(s), {ranges(there)}, cannot be split by years",
            where="--years",
            rule="by default the last year tests, the one before validates, the others train: three are needed",
            fix="set --valid_from DATE --test_from DATE, or --split 0.7,0.15,0.15"
            if len(years) > 2
            else "--split 1,0,0 puts all states into 'train'",
        )
    return {"train": there[:-2], "valid": there[-2:-1], "test": there[-1:]}, (
        "by default: the last year tests, the one before validates")  # fmt: skip


def _bounds(times: np.ndarray, rule: SplitRule) -> list[int]:
    """Numbers of the first validation and the first test state."""
    if rule.starts:
        return [int(np.searchsorted(times, np.datetime64(rule.starts[split]))) for split in ("valid", "test")]
    edges = np.cumsum(rule.shares)[:2] * len(times)
    return [int(round(edge)) for edge in edges]
