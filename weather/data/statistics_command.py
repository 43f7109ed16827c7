"""What ``python -m weather.statistics`` does: compute, merge, check, and say it."""

from __future__ import annotations

import re
from pathlib import Path

from weather.data.archive import Split, open_split
from weather.data.order import sample_starts
from weather.data.statistics import FOLDER, read_record, write_record
from weather.data.statistics_collection import collect, forget_parts
from weather.data.statistics_comparison import check_files, compare, deviations_to_json, keep_moments
from weather.data.statistics_merging import merge_archives
from weather.data.statistics_record import StatisticsRecord
from weather.data.statistics_table import print_deviations, print_record
from weather.errors import ConfigError, DataError
from weather.presentation.writing import write_json
from weather.runtime.nodes import usable_cores
from weather.runtime.progress import progress_bar

MOST_WORKERS = 8  # by default: more seldom help, for storage is the limit then
WHOLE = 1e-3  # by so much a lead in hours may miss a whole number of time steps
HOURS = {"h": 1.0, "d": 24.0}


def compute_statistics(data_dir: Path, split: str, leads: str | None, workers: int | None, report: Path | None) -> int:
    """Read a split, show its statistics, and write them if it is the one to train with."""
    opened = open_split(data_dir, split)
    before = _record_before(data_dir) if split == "train" else None
    kept = [] if before is None else [n for n in before.differences if sample_starts(opened.consecutive, n + 1).size]
    wanted = sorted({*kept, *(lead_steps(leads, opened) if leads else ())})
    with progress_bar("reading", unit="states") as progress:
        record = collect(
            data_dir,
            split=split,
            leads=wanted,
            workers=_workers(workers),
            keeps_parts=split == "train",
            progress=progress,
        )
    record = keep_moments(record, before)
    if split == "train":
        write_record(data_dir, record)
        forget_parts(data_dir)
    print_record(record, f"{data_dir}, split '{split}'")
    if split == "train":
        print(f"written: {data_dir / FOLDER}")
    _write_report(report, record)
    return 0


def _record_before(data_dir: Path) -> StatisticsRecord | None:
    """The record that will be replaced; one that is damaged is as good as none."""
    try:
        return read_record(data_dir)
    except DataError as error:
        print(f"note: {error} It is, but without the leads that it may have had; --leads adds them.")
        return None


def merge_statistics(data_dir: Path, others: list[Path], report: Path | None) -> int:
    """Add the statistics of other archives to those of the first."""
    record, notes = merge_archives(data_dir, others)
    write_record(data_dir, record)
    print_record(record, f"{', '.join(map(str, (data_dir, *others)))}, merged")
    for note in notes:
        print(f"note: {note}")
    print(f"written: {data_dir / FOLDER}")
    _write_report(report, record)
    return 0


def check_statistics(data_dir: Path, workers: int | None, report: Path | None) -> int:
    """Compare the statistics on disk with the training states; 1 if they disagree."""
    written = check_files(data_dir)
    leads = [] if written is None else list(written.differences)
    with progress_bar("reading", unit="states") as progress:
        found = collect(data_dir, leads=leads, workers=_workers(workers), keeps_parts=False, progress=progress)
    deviations = compare(data_dir, found, written)
    print_deviations(deviations, found.step_hours)
    if report is not None:
        write_json(report, deviations_to_json(deviations))
    return 0 if all(each.agrees for each in deviations) else 1


def lead_steps(text: str, split: Split) -> tuple[int, ...]:
    """Time steps of leads written as `1,2,4` or `6h,1d`.

    Raises:
        ConfigError: something else is written, or a time between the archive's steps.
    """
    steps = []
    for word in text.split(","):
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([hd]?)", word.strip())
        count = float(found[1]) * HOURS[found[2]] / split.step_hours if found and found[2] else None
        if found and not found[2] and found[1].isdigit():
            count = float(found[1])
        if count is None or count <= 0:
            raise ConfigError(
                f"'{word.strip()}' is no lead",
                where=f"--leads {text}",
                rule="whole time steps (1,2,4), hours or days (6h,1d), separated by commas",
            )
        if abs(count - round(count)) > WHOLE * count:
            near = [f"{whole * split.step_hours:g}h" for whole in (int(count), int(count) + 1) if whole]
            raise ConfigError(
                f"a lead of {word.strip()}",
                where=f"--leads {text}",
                rule=f"the archive's time step is {split.step_hours:g} h, so a lead is a multiple of that",
                fix=f"nearest: {' or '.join(near)}",
            )
        steps.append(round(count))
    return tuple(sorted(set(steps)))


def _workers(wanted: int | None) -> int:
    return min(len(usable_cores()), MOST_WORKERS) if wanted is None else wanted


def _write_report(path: Path | None, record: StatisticsRecord) -> None:
    if path is not None:
        write_json(path, record.to_json())
