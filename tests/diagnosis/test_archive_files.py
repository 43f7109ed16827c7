"""Calendars of year files: leap years, parts of years, steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.archives import WrittenArchive
from weather.diagnosis.archive_files import files_section, time_section

MakeArchive = Callable[..., WrittenArchive]
SMALL = {"channels": ("t2m",), "grid": (2, 4)}


def examine(archive: WrittenArchive) -> tuple[dict[str, int], list[str]]:
    """States of the year by file, and all findings about time."""
    section, files = files_section(archive.folder)
    of_year = {row[0]: row[2] for row in section.rows}
    return of_year, [f"{finding.check}: {finding.what}" for finding in time_section(files).findings]


@pytest.mark.parametrize(("step", "expected"), [(6, (1464, 1460)), (12, (732, 730))])
def test_leap_years_have_more_states(make_archive: MakeArchive, step: int, expected: tuple[int, int]) -> None:
    counts = {"train": expected, "valid": (8,), "test": (8,)}
    of_year, told = examine(make_archive(files=counts, step_hours=step, **SMALL))
    assert (of_year["train/part_0.h5"], of_year["train/part_1.h5"]) == expected
    assert told == []


def test_a_leap_year_of_365_days_is_told(make_archive: MakeArchive) -> None:
    _, told = examine(make_archive(files={"train": (1460, 8), "valid": (8,), "test": (8,)}, **SMALL))
    assert len(told) == 1 and told[0].startswith(
        "data.year: train/part_0.h5 has 1460 of the 1464 states of 2000 of a leap"
    )


def test_a_leap_day_that_was_dropped_is_a_gap(make_archive: MakeArchive) -> None:
    hours = np.arange(1464) * 6.0
    without = np.concatenate([hours[:236], hours[240:]])  # 29 February
    times = {"train": [without]}
    _, told = examine(make_archive(files={"train": (1460,), "valid": (8,), "test": (8,)}, times=times, **SMALL))
    assert told == ["data.gap: train/part_0.h5 has 1 gap(s): missing states 4 after 2000-02-28T18:00:00"]


def test_steps_that_are_too_short_are_told(make_archive: MakeArchive) -> None:
    hours = np.concatenate([np.arange(8) * 6.0, [43.0], 48 + np.arange(8) * 6.0])
    _, told = examine(
        make_archive(files={"train": (17,), "valid": (8,), "test": (8,)}, times={"train": [hours]}, **SMALL)
    )
    assert len(told) == 1 and "1 step(s) shorter than its usual 6 h, the first 1 h after 2000-01-02T18:00:00" in told[0]


def test_files_without_time_stamps_are_a_note_or_an_error_beside_others(make_archive: MakeArchive) -> None:
    nothing = {"train": [None], "valid": [None], "test": [None]}
    files = {"train": (8,), "valid": (8,), "test": (8,)}
    _, told = examine(make_archive(files=files, times=nothing, **SMALL))
    assert len(told) == 1 and told[0].startswith("data.time_stamps: no file has time stamps")
    _, told = examine(make_archive("mixed", files=files, times={"valid": [None]}, **SMALL))
    assert told == ["data.time_stamps: valid/part_0.h5 has no time stamps, while other files have them"]


def test_an_order_by_name_that_is_not_by_time_is_told(make_archive: MakeArchive) -> None:
    times = {"train": [48 + np.arange(8) * 6.0, np.arange(8) * 6.0]}
    _, told = examine(make_archive(files={"train": (8, 8), "valid": (8,), "test": (8,)}, times=times, **SMALL))
    assert told == ["data.order: the files of train are in another order by name than by time"]
