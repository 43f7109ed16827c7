"""runs.csv of a study or of any run folders: every run has a row, and what spoils it stands in `reason`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from weather.errors import ConfigError, DataError
from weather.presentation.writing import csv_text, write_whole
from weather.runtime.run_folder import METRICS_FILE
from weather.study.execution.state import observe
from weather.study.folder import PLAN_FILE, StudyFolder
from weather.study.results.row import Row, lone_row, planned_row

RUNS_FILE = "runs.csv"
COLUMNS = (
    *("name", "status", "reason", "role", "trunk", "N", "N_non_embedding", "D", "U", "C", "own_C"),
    *("tokens_per_sample", "epochs", "steps", "batch_size", "loss", "training_loss", "schedule", "learning_rate"),
    *("seed", "label.", "rmse.", "samples_per_second", "tflops", "mfu", "data_wait", "memory_gb", "seconds"),
    *("own_seconds", "storage_bytes", "nodes", "world_size", "device", "precision", "validation_samples"),
    *("validation_set", "commit", "config", "run"),
)


def is_study(path: Path) -> bool:
    """Whether a folder is a study's."""
    return (path / PLAN_FILE).exists()


def collect_study(study: StudyFolder) -> list[Row]:
    """A row for every run that was planned, begun or not, and for those that are impossible.

    Raises:
        DataError: the folder is no study's.
    """
    plan = study.read_plan()
    states = observe(study, plan)
    rows = [planned_row(study, run, states[run.name]) for run in plan.runs]
    for each in plan.impossible:
        labels = {f"label.{key}": value for key, value in each.labels.items()}
        rows.append({"name": each.name, "status": "impossible", "reason": each.reason, **labels})
    return rows


def collect_runs(folders: Sequence[Path]) -> list[Row]:
    """A row for every run; a trunk is one that another of them has left.

    Args:
        folders: of runs, or of folders that hold runs.

    Raises:
        DataError: a folder holds no run.
    """
    found: list[Path] = []
    for folder in folders:
        inside = (
            [folder] if (folder / METRICS_FILE).exists() else sorted(p.parent for p in folder.glob("*/metrics.jsonl"))
        )
        if not inside:
            raise DataError(
                "no run here",
                where=folder,
                rule=f"a run's folder holds {METRICS_FILE}, a study's {PLAN_FILE}",
                fix="name a study, runs, or a folder of runs",
            )
        found += [path for path in inside if path not in found]
    rows = [lone_row(path) for path in found]
    trunks = {row.get("trunk") for row in rows}
    return [row | {"role": "trunk"} if row["name"] in trunks else row for row in rows]


def collect(paths: Sequence[Path]) -> list[Row]:
    """Rows of one study, or of run folders.

    Raises:
        ConfigError: a study among others.
        DataError: a folder holds neither.
    """
    if len(paths) == 1 and is_study(paths[0]):
        return collect_study(StudyFolder(paths[0]))
    for path in paths:
        if is_study(path):
            raise ConfigError(
                f"{path} is a study", rule="one study alone, or any number of run folders", fix=f"name {path / 'runs'}"
            )
    return collect_runs(paths)


def write_runs(path: Path, rows: Sequence[Row]) -> None:
    """Write runs.csv, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    columns: list[str] = []
    for column in COLUMNS:
        columns += [key for key in keys if key.startswith(column)] if column.endswith(".") else [column]
    unknown = sorted(set(keys) - set(columns))
    assert not unknown, unknown
    try:
        write_whole(path, csv_text(columns, ([row.get(column) for column in columns] for row in rows)))
    except OSError as error:
        raise DataError(f"cannot be written ({error})", where=path) from error
