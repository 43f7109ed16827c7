"""Statistics on disk beside those of the states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.archive import open_split
from weather.data.moments import Moments
from weather.data.statistics import FOLDER, RECORD_FILE, read_record, read_statistics
from weather.data.statistics_record import StatisticsRecord
from weather.errors import DataError

AGREES = 1e-3  # standard deviations of the mean, and relatively of the standard deviation: float32 sums err so far
ROUNDING = 1e-6  # the same units: far above what the order of float64 sums changes


@dataclass(frozen=True)
class Deviation:
    """How far the statistics of one channel on disk are off.

    Attributes:
        lead: time steps of a difference; None: of the states themselves.
        mean_off: (on disk - of the states) / standard deviation of the states.
        std_off: on disk / of the states - 1.
    """

    channel: str
    lead: int | None
    mean_off: float
    std_off: float

    @property
    def agrees(self) -> bool:
        return abs(self.mean_off) <= AGREES and abs(self.std_off) <= AGREES


def check_files(data_dir: Path) -> StatisticsRecord | None:
    """The record on disk, if there is one; it must be of the very files of the training split.

    Raises:
        DataError: it is of other files, or they have other sizes.
    """
    record = read_record(data_dir)
    if record is None:
        return None
    headers = open_split(data_dir, "train").headers
    found = {header.path.relative_to(data_dir).as_posix(): header.path.stat().st_size for header in headers}
    counted = {file.file: file.bytes for file in record.files}
    if found != counted:
        strange = sorted(set(counted.items()) ^ set(found.items()))[0][0]
        raise DataError(
            f"it is of {len(counted)} files, and the training split has {len(found)}; they differ first in {strange}",
            where=data_dir / FOLDER / RECORD_FILE,
            rule="statistics are of all files of the training split as they are now",
            fix="compute them again, without --check; those of merged archives can be checked before they are merged",
        )
    return record


def compare(data_dir: Path, found: StatisticsRecord, written: StatisticsRecord | None) -> tuple[Deviation, ...]:
    """How far what is on disk is from `found`, which was just taken from the states.

    Args:
        written: the record on disk; the arrays beside it are compared in any case.

    Raises:
        DataError: there is nothing on disk, or its files do not fit one another.
    """
    arrays = read_statistics(data_dir, found.channels)
    deviations = _deviations(found.channels, None, arrays.means, arrays.stds, found.moments)
    for lead, moments in () if written is None else written.differences.items():
        deviations += _deviations(found.channels, lead, moments.mean, moments.stds, found.differences[lead])
    return tuple(deviations)


def keep_moments(found: StatisticsRecord, before: StatisticsRecord | None) -> StatisticsRecord:
    """`found`, with the moments of `before` where both are of the same values and differ by rounding alone.

    Runs that have begun keep their normalisation to the bit when differences are added to an archive.
    """
    if before is None or before.files != found.files:
        return found
    old = before.differences
    return replace(
        found,
        moments=_kept(found.channels, found.moments, before.moments),
        differences={lead: _kept(found.channels, new, old.get(lead, new)) for lead, new in found.differences.items()},
    )


def _kept(channels: tuple[str, ...], found: Moments, before: Moments) -> Moments:
    ranges = np.array_equal(before.minimum, found.minimum) and np.array_equal(before.maximum, found.maximum)
    off = _deviations(channels, None, before.mean, before.stds, found)
    same = before.count == found.count and ranges
    return before if same and all(max(abs(d.mean_off), abs(d.std_off)) <= ROUNDING for d in off) else found


def _deviations(
    channels: tuple[str, ...], lead: int | None, means: np.ndarray, stds: np.ndarray, found: Moments
) -> list[Deviation]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_off = np.where(means == found.mean, 0.0, (means - found.mean) / found.stds)
        std_off = np.where(stds == found.stds, 0.0, stds / found.stds - 1)
    return [Deviation(*each) for each in zip(channels, [lead] * len(channels), mean_off, std_off, strict=True)]


def deviations_to_json(deviations: tuple[Deviation, ...]) -> list[dict[str, Any]]:
    """One dict for each channel and lead."""
    return [
        {
            "channel": each.channel,
            "lead": each.lead,
            "mean_off": float(each.mean_off),
            "std_off": float(each.std_off),
            "agrees": bool(each.agrees),
        }
        for each in deviations
    ]
