"""The skill of a study's runs, a row for each run, channel and lead: from the runs' scores into ``skill.csv``."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.errors import DataError
from weather.presentation.writing import csv_text, write_whole
from weather.study.fits.channels import ChannelErrors
from weather.study.results.table import Table
from weather.verification.scorecard.files import origin_file

SKILL_FILE = "skill.csv"


@dataclass(frozen=True)
class SkillRow:
    """Scores of a run's forecasts of one channel at one lead, in the channel's unit; None where they blew up.

    Attributes:
        samples: forecasts verified.
    """

    run: str
    channel: str
    unit: str
    lead_hours: float
    rmse: float | None
    mae: float | None
    bias: float | None
    acc: float | None
    persistence_rmse: float | None
    climatology_rmse: float | None
    samples: int
    split: str


TEXT = ("run", "channel", "unit", "split")


def scores_file(run_folder: Path, split: str) -> Path:
    """Where the scores of a run lie."""
    return run_folder / f"scores_{split}.json"


def read_scores(run_folder: Path, split: str) -> list[SkillRow]:
    """Rows of a run's scores; empty where it has none.

    Raises:
        DataError: the file, or that of its origin, cannot be read.
    """
    path = scores_file(run_folder, split)
    if not path.exists():
        return []
    try:
        scores, origin = (json.loads(each.read_text(encoding="utf-8")) for each in (path, origin_file(path)))
        return [
            SkillRow(
                run=run_folder.name,
                channel=channel,
                unit=origin["units"][channel],
                lead_hours=float(lead),
                **{name: sources["model"][name] for name in ("rmse", "mae", "bias", "acc")},
                persistence_rmse=sources["persistence"]["rmse"],
                climatology_rmse=sources["climatology"]["rmse"],
                samples=origin["samples"],
                split=split,
            )
            for channel, leads in scores.items()
            for lead, sources in leads.items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"no scores of a run ({type(error).__name__}: {error})", where=path, fix="remove it, and verify again"
        ) from error


def write_skill(path: Path, rows: Iterable[SkillRow]) -> None:
    """Write the table; what is not finite stays empty."""
    columns = [each.name for each in dataclasses.fields(SkillRow)]
    records = ({**dataclasses.asdict(row), "lead_hours": f"{row.lead_hours:g}"} for row in rows)
    write_whole(path, csv_text(columns, ([record[column] for column in columns] for record in records)))


def read_skill(path: Path) -> list[SkillRow]:
    """Read the table.

    Raises:
        DataError: it is not there, or a row is none of it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})",
            where=path,
            fix="verify the runs: python -m weather.scaling verify STUDY",
        ) from error
    return [_row(path, line, row) for line, row in enumerate(rows, start=2)]


def _row(path: Path, line: int, row: dict[str, str]) -> SkillRow:
    names = [each.name for each in dataclasses.fields(SkillRow)]
    try:
        numbers = {name: float(row[name]) if row[name] else None for name in names if name not in TEXT}
        if not numbers["lead_hours"] or not all(row[name] for name in ("run", "channel", "split")):
            raise ValueError("run, channel, split and lead_hours are not empty")
        return SkillRow(**{**row, **numbers, "samples": int(numbers["samples"] or 0)})  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"no row of skill ({type(error).__name__}: {error})", where=f"{path}, line {line}", rule=", ".join(names)
        ) from error


def channel_errors(table: Table, rows: Sequence[SkillRow], split: str) -> ChannelErrors:
    """The errors of the table's runs by channel and lead.

    Raises:
        DataError: none of its runs was verified on the split, or two rows are of the same.
    """
    index = {name: number for number, name in enumerate(table.names)}
    chosen = [row for row in rows if row.split == split and row.run in index]
    if not chosen:
        splits = sorted({row.split for row in rows if row.run in index})
        raise DataError(
            f"none of the {len(index)} runs to fit was verified on the split '{split}'",
            rule=f"there are scores on {', '.join(splits) or 'none'}",
            fix=f"python -m weather.scaling verify STUDY --split {split}",
        )
    units = {row.channel: row.unit for row in chosen}
    channels, leads = list(units), sorted({row.lead_hours for row in chosen})
    squared = np.full((len(index), len(channels), len(leads)), np.nan)
    for row in chosen:
        cell = index[row.run], channels.index(row.channel), leads.index(row.lead_hours)
        if not np.isnan(squared[cell]):
            raise DataError(f"two rows for {row.run}, {row.channel}, {row.lead_hours:g} h", rule="one for each")
        squared[cell] = np.inf if row.rmse is None else row.rmse**2
    return ChannelErrors(table.runs, tuple(channels), tuple(units.values()), tuple(leads), squared)
