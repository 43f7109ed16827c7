"""What a report is made from: the plan, the table of runs, what each run logged, and the predictions."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather.errors import DataError
from weather.study.folder import StudyFolder
from weather.study.planned import StudyPlan
from weather.study.report.curves import Curves, read_curves
from weather.study.results.collection import RUNS_FILE
from weather.study.results.skill import SKILL_FILE
from weather.study.results.table import FINISHED


@dataclass(frozen=True)
class Row:
    """A run as the table has it: its cells by column name, empty ones left out."""

    cells: dict[str, str]

    @property
    def name(self) -> str:
        return self.cells.get("name", "")

    @property
    def status(self) -> str:
        return self.cells.get("status", "")

    def text(self, column: str) -> str:
        """Empty where there is none."""
        return self.cells.get(column, "")

    def number(self, column: str) -> float | None:
        """None where there is none, or none that is finite."""
        try:
            value = float(self.cells[column])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def positive(self, column: str) -> float | None:
        """None where there is none that a logarithmic axis can show."""
        value = self.number(column)
        return value if value is not None and value > 0 else None


@dataclass(frozen=True)
class Material:
    """All that is known of a study.

    Attributes:
        rows: of the table, those of planned runs in the plan's order; empty before the first `collect`.
        table_digest: sha256 of the table; empty where there is none.
        curves: of each run that has begun.
        predictions, scores: by id, as they were registered and scored.
        skill: rows of skill.csv.
    """

    folder: StudyFolder
    plan: StudyPlan
    rows: tuple[Row, ...]
    table_digest: str
    curves: dict[str, Curves]
    predictions: dict[str, dict[str, Any]] = field(default_factory=dict)
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    skill: tuple[dict[str, str], ...] = ()

    @property
    def table(self) -> Path:
        return self.folder.path / RUNS_FILE

    def command(self, name: str, *options: str) -> str:
        """A line for a shell that does something with this study."""
        return shlex.join(["python", "-m", "weather.scaling", name, str(self.folder.path), *options])

    def finished(self) -> tuple[Row, ...]:
        """Runs with a result, trunks left out: their rate has not come down, so that their loss says nothing."""
        return tuple(row for row in self.rows if row.status in FINISHED and row.text("role") != "trunk")


def read_material(folder: StudyFolder) -> Material:
    """Read a study as far as it has come.

    Raises:
        DataError: there is no plan, or a file of it is damaged.
    """
    plan = folder.read_plan()
    table = folder.path / RUNS_FILE
    names = [run.name for run in plan.runs]
    rows = sorted(
        (Row({key: value for key, value in cells.items() if key and value}) for cells in read_csv(table)),
        key=lambda row: names.index(row.name) if row.name in names else len(names),
    )
    curves = {name: read_curves(folder.run(name)) for name in names if folder.has_begun(name)}
    files = sorted((folder.path / "predictions").glob("*.json"))
    scores = {path.name.removesuffix(".score.json"): _json(path) for path in files if path.name.endswith(".score.json")}
    return Material(
        folder,
        plan,
        tuple(rows),
        hashlib.sha256(table.read_bytes()).hexdigest() if table.exists() else "",
        curves,
        {path.stem: _json(path) for path in files if not path.name.endswith(".score.json")},
        scores,
        tuple(read_csv(folder.path / SKILL_FILE)),
    )


def read_csv(path: Path) -> Iterable[dict[str, str]]:
    """Rows of a CSV file; none where there is no file.

    Raises:
        DataError: it cannot be read.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot be read ({error})", where=path) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=path) from error
    if not isinstance(record, dict):
        raise DataError("holds no record", where=path)
    return record
