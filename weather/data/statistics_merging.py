"""One archive's statistics together with those of others, without reading a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from weather.data.statistics import FOLDER, RECORD_FILE, command, read_record
from weather.data.statistics_record import StatisticsRecord
from weather.errors import DataError


def merge_archives(data_dir: Path, others: Sequence[Path]) -> tuple[StatisticsRecord, tuple[str, ...]]:
    """The record of an archive and `others` together, and what a user should know of it.

    Raises:
        DataError: an archive has no record, files are counted twice, or channels, grids or time steps disagree.
    """
    merged = _located(data_dir)
    notes = []
    for other in others:
        added = _located(other)
        both = sorted(set(merged.years) & set(added.years))
        if both:
            notes.append(f"states of {', '.join(map(str, both))} are in several archives; each counts")
        try:
            together = merged.merge(added)
        except DataError as error:
            raise DataError(str(error), where=f"{data_dir} and {other}") from error
        lost = sorted((merged.differences.keys() | added.differences.keys()) - together.differences.keys())
        if lost:
            notes.append(f"differences at lead {', '.join(map(str, lost))} are not known of all, and were left out")
        merged = together
    return merged, tuple(notes)


def _located(data_dir: Path) -> StatisticsRecord:
    """The record of an archive, its files by their whole paths."""
    record = read_record(data_dir)
    if record is None:
        raise DataError(
            "the file is missing",
            where=data_dir / FOLDER / RECORD_FILE,
            rule="statistics are merged from their records, with counts",
            fix=f"compute it: {command(data_dir)}",
        )
    files = (replace(file, file=str((data_dir / file.file).resolve())) for file in record.files)
    return replace(record, files=tuple(files))
