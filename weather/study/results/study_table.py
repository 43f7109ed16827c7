"""The table of whatever a user names: a CSV file, or a study, whose runs are collected first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from weather.errors import DataError
from weather.study.results.table import Table, read_table

if TYPE_CHECKING:  # a study's runs bring torch along, which a CSV file does not need
    from weather.study.folder import StudyFolder


def find_study(path: Path) -> StudyFolder | None:
    """The study that a path names, unless it names a file.

    Raises:
        DataError: no study is there.
    """
    if path.is_file() or path.suffix == ".csv":
        return None
    from weather.study.folder import PLAN_FILE, StudyFolder

    study = StudyFolder(path)
    if not (path / PLAN_FILE).exists():
        study.read_plan()  # says what is missing, and which studies lie beside
    return study


def table_of(path: Path, *, parameters: str = "total", most_epochs: float = 1.0) -> Table:
    """Collect a study and read its runs.csv, or read a CSV file.

    Args:
        parameters, most_epochs: as in `read_table`.

    Raises:
        DataError: it cannot be read, or holds no finished run.
    """
    study = find_study(path)
    if study is None:
        return read_table(path, parameters=parameters, most_epochs=most_epochs)
    from weather.study.results.collection import RUNS_FILE, collect_study, write_runs

    runs = study.path / RUNS_FILE
    write_runs(runs, collect_study(study))
    try:
        return read_table(runs, parameters=parameters, most_epochs=most_epochs)
    except DataError as error:
        raise DataError(
            f"nothing to fit yet: {error}", where=path, fix="`python -m weather.scaling status` shows how far it is"
        ) from error
