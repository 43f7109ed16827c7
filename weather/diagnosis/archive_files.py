"""Examines the files of an archive by their headers: what cannot be opened, what disagrees, gaps and leaps in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.data.agreement import check_agreement
from weather.data.archive import DEFAULT_STEP_HOURS, GAP, SPLITS, STEP_TOLERANCE, split_paths
from weather.data.synthetic_request import days_in_year
from weather.data.year_file import FIELDS, Header, open_for_reading, read_header
from weather.diagnosis.findings import Section, Severity
from weather.errors import DataError

NAMED = 5  # gaps that a finding names; it counts all
WHOLE_YEAR = 0.95  # of the states of a year, from which a file is taken to be meant as a whole one


@dataclass(frozen=True)
class YearFile:
    """A file that could be opened: its split, its header, how its fields lie.

    Attributes:
        stored: bytes on disk over bytes of the values.
    """

    split: str
    header: Header
    chunks: tuple[int, ...] | None
    compression: str | None
    stored: float

    @property
    def name(self) -> str:
        return f"{self.split}/{self.header.path.name}"


def files_section(data_dir: Path) -> tuple[Section, list[YearFile]]:
    """Every file's header; and the files that can be read and agree with most of the others."""
    section = Section(
        "files",
        facts={"data_dir": str(data_dir)},
        columns=("file", "states", "of_year", "first", "last", "step_h", "gaps", "grid", "channels", "type", "chunks",
                 "compression"),
    )  # fmt: skip
    opened = [file for split in SPLITS for file in _open_split(section, data_dir, split)]
    for file in opened:
        section.rows.append(_row(file))
    agreeing = _agreeing(section, opened)
    for split in SPLITS:
        states = sum(file.header.states for file in agreeing if file.split == split)
        section.facts[f"{split}_files"] = sum(file.split == split for file in agreeing)
        section.facts[f"{split}_states"] = states
    section.facts["gigabytes"] = round(sum(_value_bytes(file.header) * file.stored for file in opened) / 1e9, 3)
    return section, agreeing


def _open_split(section: Section, data_dir: Path, split: str) -> list[YearFile]:
    try:
        paths = split_paths(data_dir, split)
    except DataError as error:
        severity = Severity.WARNING if split == "test" else Severity.ERROR
        section.find(severity, "data.split", str(error), "evaluation needs it" if split == "test" else "")
        return []
    files = []
    for path in paths:
        try:
            header = read_header(path)
            with open_for_reading(path) as file:
                fields = file[FIELDS]
                stored = fields.id.get_storage_size() / _value_bytes(header)
                files.append(YearFile(split, header, fields.chunks, fields.compression, stored))
        except (DataError, OSError, RuntimeError, KeyError, ValueError) as error:  # h5py's, of damaged metadata
            where = "" if isinstance(error, DataError) else f"{path}: "
            section.find(Severity.ERROR, "data.file", f"{where}{' '.join(str(error).split())}")
    return files


def _value_bytes(header: Header) -> int:
    return int(np.prod(header.shape)) * header.dtype.itemsize


def _row(file: YearFile) -> tuple[object, ...]:
    header = file.header
    time, step, gaps, of_year = header.time, None, None, None
    if time is not None and header.states > 1:
        hours = step_lengths(header)
        step = float(np.median(hours))
        gaps = int((hours > GAP * step).sum())
        of_year = states_of_year(header, step)
    first, last = (None, None) if time is None else (_minute(time[0]), _minute(time[-1]))
    chunks = "contiguous" if file.chunks is None else "x".join(map(str, file.chunks))
    grid = f"{header.grid[0]}x{header.grid[1]}"
    layout = (grid, header.shape[1], str(header.dtype), chunks, file.compression)
    return (file.name, header.states, of_year, first, last, step, gaps, *layout)


def _minute(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace("T", " ")


def step_lengths(header: Header) -> np.ndarray:
    """Hours [states - 1] between the states of a file."""
    assert header.time is not None
    return np.diff(header.time).astype(np.int64) / 3600


def states_of_year(header: Header, step_hours: float) -> int | None:
    """States that the calendar year of a file has: 1460 or 1464 at 6 h; None where it lies in several."""
    assert header.time is not None
    years = header.time.astype("datetime64[Y]").astype(int) + 1970
    if years[0] != years[-1]:
        return None
    return round(days_in_year(int(years[0])) * 24 / step_hours)


def _agreeing(section: Section, files: list[YearFile]) -> list[YearFile]:
    """The files that have the channels and the grid of most; the others become findings."""
    if not files:
        return []
    kinds = Counter((file.header.shape[1:], file.header.channels) for file in files)
    common = kinds.most_common(1)[0][0]
    reference = next(file for file in files if (file.header.shape[1:], file.header.channels) == common)
    agreeing = []
    for file in files:
        try:
            check_agreement(reference.header, file.header)
            agreeing.append(file)
        except DataError as error:
            section.find(Severity.ERROR, "data.agreement", str(error), "convert it again, or take it out")
    types = {str(file.header.dtype) for file in agreeing}
    if len(types) > 1:
        section.find(Severity.NOTE, "data.type", f"files have different types: {', '.join(sorted(types))}")
    return agreeing


def time_section(files: Sequence[YearFile]) -> Section:
    """Time steps, gaps, leap years, the order of files, and splits that overlap."""
    section = Section("time")
    stamped = [file for file in files if file.header.time is not None]
    for file in files:
        if file.header.time is None and stamped:
            section.find(
                Severity.ERROR, "data.time_stamps", f"{file.name} has no time stamps, while other files have them",
                "add the dataset `time` with its units",
            )  # fmt: skip
    if not stamped:
        if files:
            section.find(
                Severity.NOTE,
                "data.time_stamps",
                f"no file has time stamps: gaps cannot be seen, the step is taken to be {DEFAULT_STEP_HOURS:g} h, and "
                "no sample spans two files",
                "add the dataset `time` with units such as 'hours since 2000-01-01'",
            )
        return section
    medians = [float(np.median(step_lengths(file.header))) for file in stamped if file.header.states > 1]
    step = Counter(medians).most_common(1)[0][0] if medians else DEFAULT_STEP_HOURS
    section.facts["step_hours"] = step
    for file in stamped:
        _judge_file(section, file, step)
    for split in SPLITS:
        _judge_order(section, split, [file for file in stamped if file.split == split], step)
    _judge_leaks(section, stamped)
    return section


def _judge_file(section: Section, file: YearFile, step: float) -> None:
    header = file.header
    assert header.time is not None
    if header.states < 2:
        return
    hours = step_lengths(header)
    own = float(np.median(hours))
    if not np.isclose(own, step, rtol=STEP_TOLERANCE):
        section.find(
            Severity.ERROR,
            "data.time_step",
            f"{file.name} has a state every {own:g} h, most files every {step:g} h",
            "data.dt counts steps, so that all files must have the same: thin it out, or take it out",
        )
        return
    short = np.flatnonzero(hours < own / GAP)
    if short.size:
        section.find(
            Severity.WARNING,
            "data.time_step",
            f"{file.name} has {short.size} step(s) shorter than its usual {own:g} h, the first {hours[short[0]]:g} h "
            f"after {header.time[short[0]]}",
            "such samples have another lead time: drop the states in between",
        )
    late = np.flatnonzero(hours > GAP * own)
    if late.size:
        named = ", ".join(f"{hours[i] / own - 1:.0f} after {header.time[i]}" for i in late[:NAMED])
        section.find(
            Severity.WARNING,
            "data.gap",
            f"{file.name} has {late.size} gap(s): missing states {named}{', ...' if late.size > NAMED else ''}",
            "no sample spans a gap; fill it if the states exist",
        )
    of_year = states_of_year(header, own)
    if of_year is not None and WHOLE_YEAR * of_year <= header.states < of_year and not late.size:
        year = header.time[0].astype("datetime64[Y]")
        leap = " of a leap year" if days_in_year(int(str(year))) == 366 else ""
        section.find(
            Severity.NOTE,
            "data.year",
            f"{file.name} has {header.states} of the {of_year} states of {year}{leap}: from {header.time[0]} to "
            f"{header.time[-1]}",
            "see whether the conversion took every year for one of 365 days" if leap else "",
        )


def _judge_order(section: Section, split: str, files: Sequence[YearFile], step: float) -> None:
    """Files of one split: by name as by time, none overlapping, which of them join."""
    spans = [(file.header.time[0], file.header.time[-1], file.name) for file in files if file.header.time is not None]
    if [first for first, _, _ in spans] != sorted(first for first, _, _ in spans):
        section.find(
            Severity.NOTE, "data.order", f"the files of {split} are in another order by name than by time",
            "they are read by time; names such as 2001.h5 would say so",
        )  # fmt: skip
    spans.sort(key=lambda span: span[0])
    apart = 0
    for (_, last, name), (first, _, next_name) in zip(spans[:-1], spans[1:], strict=True):
        hours = float((first - last).astype(np.int64)) / 3600
        if hours <= 0:
            section.find(
                Severity.ERROR,
                "data.overlap",
                f"{next_name} begins at {first}, before {name} has ended at {last}",
                "files of a split do not overlap in time: take the double states out",
            )
        apart += hours > GAP * step
    section.facts[f"{split}_files_that_join"] = f"{max(0, len(spans) - 1 - apart)} of {max(0, len(spans) - 1)}"


def _judge_leaks(section: Section, files: Sequence[YearFile]) -> None:
    """A state that is in two splits makes verification worthless."""
    times = {
        split: np.concatenate([file.header.time for file in files if file.split == split] or [np.array([], "M8[s]")])
        for split in SPLITS
    }
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        both = np.intersect1d(times[one], times[other])
        if both.size:
            section.find(
                Severity.ERROR,
                "data.leak",
                f"{both.size} times are in {one} and in {other}, the first {both[0]}",
                "a model must not be verified on what it was trained on: give each year to one split",
            )
