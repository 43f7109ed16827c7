"""The table of whatever a user names: a CSV file, or a study, whose runs are collected first."""

from __future__ import annotations

from pathlib import Path

from weather.errors import DataError
from weather.study.folder import StudyFolder
from weather.study.results.collection import RUNS_FILE, collect_study, is_study, write_runs
from weather.study.results.table import Table, read_table


def find_study(path: Path) -> StudyFolder | None:
    """The study that a path names, if it names a folder.

    Raises:
        DataError: a folder that is no study's.
    """
    if not path.is_dir():
        return None
    study = StudyFolder(path)
    if not is_study(path):
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
    write_runs(study.path / RUNS_FILE, collect_study(study))
    try:
        return read_table(study.path / RUNS_FILE, parameters=parameters, most_epochs=most_epochs)
    except DataError as error:
        raise DataError(
            f"nothing to fit yet: {error}", where=path, fix="`python -m weather.scaling status` shows how far it is"
        ) from error
