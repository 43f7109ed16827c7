"""The table of runs, one row a run: reads it, whoever wrote it, and finds what would spoil a fit.

Columns have the field's short names, N D C U and loss, or longer ones that other projects use; the rest is kept as
text. Names differ in case only by accident, so case does not count.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from weather.errors import DataError, did_you_mean
from weather.study.fits.laws import Array
from weather.study.fits.observations import Observations

NAMES = {
    "parameters": ("N", "parameters", "params", "model_size", "n_params"),
    "samples": ("D", "samples", "tokens", "D_total", "training_tokens"),
    "flops": ("C", "flops", "compute", "compute_budget", "FLOP", "training_flop"),
    "loss": ("loss", "final_loss", "validation_loss", "L"),
    "unique": ("U", "unique", "U_unique", "unique_tokens"),
}
FLOPS_PER_PRODUCT = 6.0  # where C or D is missing: C = 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)
FLOPS_TOLERANCE = 0.2  # C / (N D) of a run may differ so much from the median of the table; k depends on the size
REPEATED = 0.01  # an epoch that was begun again for a last batch repeats nothing worth a word
FINISHED = ("", "complete", "finished", "flops_budget", "time_budget", "max_steps")


@dataclass(frozen=True)
class Table:
    """Runs to fit.

    Attributes:
        runs: those that were trained to their end on data seen once.
        names: of these.
        left_out: name and reason of the others.
        remarks: what was assumed, or looks wrong but was kept.
    """

    runs: Observations
    names: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]


def read_table(path: Path) -> Table:
    """Read a CSV file.

    Raises:
        DataError: a column is missing, a value is not a number, or no run was trained to its end.
    """
    rows = _rows(path)
    columns = _columns(path, list(rows[0]))
    remarks = []
    if "flops" not in columns:
        remarks.append(f"{path.name} has no FLOPs: C = {FLOPS_PER_PRODUCT:g} N D is assumed")
    if "samples" not in columns:
        remarks.append(f"{path.name} has no samples: D = C / ({FLOPS_PER_PRODUCT:g} N) is assumed")
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    names: list[str] = []
    left_out: list[tuple[str, str]] = []
    seen: dict[tuple[float, ...], str] = {}
    for number, row in enumerate(rows, start=2):  # the first line has the names
        name = row.get("name") or f"line {number}"
        status = row.get("status") or ""
        if status not in FINISHED:
            left_out.append((name, row.get("reason") or status))
            continue
        numbers = _numbers(path, number, row, columns)
        repeated = seen.setdefault((*numbers.values(), float(row.get("seed") or 0)), name)
        if repeated != name:
            left_out.append((name, f"the same run as {repeated}"))
            continue
        names.append(name)
        for key, value in numbers.items():
            values[key].append(value)
    if not names:
        raise DataError("no run was trained to its end", where=path, rule=f"status is one of {', '.join(FINISHED[1:])}")
    runs = Observations(**{key: np.array(column) for key, column in values.items()})
    remarks += _inconsistent(runs, names)
    once = runs.samples <= runs.unique * (1 + REPEATED)
    left_out += [(names[index], "its data repeat (D > U)") for index in np.flatnonzero(~once)]
    if not once.any():
        raise DataError("the data repeat in every run (D > U)", where=path, rule="these laws hold for data seen once")
    kept = np.flatnonzero(once)
    return Table(runs.take(kept), tuple(names[index] for index in kept), tuple(left_out), tuple(remarks))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"is no CSV file ({error})", where=path) from error
    if not rows:
        raise DataError("has no rows", where=path, rule="a line of column names, and one for each run")
    return rows


def _columns(path: Path, there: list[str]) -> dict[str, str]:
    """The table's own name of each column that it has."""
    by_case = {column.strip().lower(): column for column in there if column}
    found = {
        key: by_case[name.lower()]
        for key, names in NAMES.items()
        for name in reversed(names)
        if name.lower() in by_case
    }
    for key in ("parameters", "loss"):
        if key not in found:
            raise DataError(
                f"has no column for {key}{did_you_mean(NAMES[key][0], there)}",
                where=path,
                rule=f"one of {', '.join(NAMES[key])}; it has {', '.join(there)}",
            )
    if "flops" not in found and "samples" not in found:
        raise DataError(
            "has neither FLOPs nor samples",
            where=path,
            rule=f"one of {', '.join((*NAMES['flops'], *NAMES['samples']))}; it has {', '.join(there)}",
        )
    return found


def _numbers(path: Path, line: int, row: dict[str, str], columns: dict[str, str]) -> dict[str, float]:
    numbers = {}
    for key, column in columns.items():
        try:
            numbers[key] = float(row[column])
        except (TypeError, ValueError):
            numbers[key] = math.nan
        if not (math.isfinite(numbers[key]) and numbers[key] > 0):
            raise DataError(
                f"{column} is {row[column]!r}",
                where=f"{path}, line {line}",
                rule="a positive number; a run without one has a status, such as failed",
            )
    product = FLOPS_PER_PRODUCT * numbers["parameters"]
    numbers.setdefault("samples", numbers.get("flops", 0.0) / product)
    numbers.setdefault("flops", product * numbers["samples"])
    numbers.setdefault("unique", numbers["samples"])
    return {key: numbers[key] for key in NAMES}


def _inconsistent(runs: Observations, names: list[str]) -> list[str]:
    """Runs whose FLOPs do not go with N D."""
    ratio: Array = runs.flops / (runs.parameters * runs.samples) / runs.flops_per_product
    return [
        f"{names[index]}: C / (N D) is {ratio[index]:.2f} of the other runs'"
        for index in np.flatnonzero(np.abs(np.log(ratio)) > np.log1p(FLOPS_TOLERANCE))
    ]
