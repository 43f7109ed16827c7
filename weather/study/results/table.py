"""The table of runs, one row a run: reads it, whoever wrote it, and finds what would spoil a fit.

Columns have the field's short names, N D C U and loss, or longer ones that other projects use. Names differ in case
only by accident, so case does not count. runs.csv and foreign tables go the same way: what only some of them have
(role, seed, validation set) is looked at where it is there.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from weather.errors import ConfigError, DataError, did_you_mean
from weather.study.fits.laws import Array
from weather.study.fits.observations import Observations
from weather.study.fits.repeats import SeedNoise, seed_noise

NAMES = {
    "parameters": ("N", "parameters", "params", "model_size", "n_params"),
    "samples": ("D", "samples", "tokens", "D_total", "training_tokens"),
    "flops": ("C", "flops", "compute", "compute_budget", "FLOP", "training_flop"),
    "loss": ("loss", "final_loss", "validation_loss", "L"),
    "unique": ("U", "unique", "U_unique", "unique_tokens"),
}
NON_EMBEDDING = ("N_non_embedding", "non_embedding_parameters")
FLOPS_PER_PRODUCT = 6.0  # where C or D is missing: C = 6 N D (Kaplan et al. 2020, arXiv 2001.08361, section 2.1)
FLOPS_TOLERANCE = 0.2  # C / (N D) of a run may differ so much from the other runs'
FEWEST_SIZES = 4  # that show how C / (N D) follows the size
FINISHED = ("", "complete", "finished", "flops_budget", "time_budget", "max_steps")
#: What runs share that differ in their seed alone, beside N, D and U.
SHARED = ("learning_rate", "schedule", "batch_size", "precision")
MOST_NAMES = 5
Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Table:
    """Runs to fit.

    Attributes:
        runs: those that were trained to their end.
        names: of these.
        rows: their cells as they stand in the file, by lower-case column name.
        left_out: name and reason of the others.
        remarks: what was assumed, or looks wrong but was kept.
        seed_noise: from runs that differ in their seed alone, if there are.
        path, digest: of the file, and its SHA-256.
        most_epochs: runs of no more epochs count as seeing new data throughout.
    """

    runs: Observations
    names: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    left_out: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    seed_noise: SeedNoise | None
    path: Path
    digest: str
    most_epochs: float = 1.0

    def without(self, names: Collection[str] = (), most_flops: float = math.inf) -> Table:
        """The table without runs that are held back from the fit.

        Raises:
            ConfigError: a name that no run of the table has, or nothing is left.
        """
        known = {*self.names, *(name for name, _ in self.left_out)}
        for name in names:
            if name not in known:
                raise ConfigError(f"no run '{name}'", where=self.path, fix=did_you_mean(name, known))
        held = np.array([name in names for name in self.names]) | (self.runs.flops > most_flops)
        if held.all():
            raise ConfigError("all runs are held back", where=self.path, rule="a fit needs runs")
        kept = np.flatnonzero(~held)
        left_out = [(self.names[index], "held back") for index in np.flatnonzero(held)]
        return replace(
            self,
            runs=self.runs.take(kept),
            names=tuple(self.names[index] for index in kept),
            rows=tuple(self.rows[index] for index in kept),
            left_out=(*self.left_out, *left_out),
            seed_noise=_seed_noise(self.runs.take(kept), [self.rows[index] for index in kept]),
        )


def read_table(path: Path, *, parameters: str = "total", most_epochs: float = 1.0) -> Table:
    """Read a CSV file.

    Args:
        parameters: which N, `total` or `non_embedding`; of a table with one N only, that one is `total`.
        most_epochs: runs of no more epochs (D / U) count as seeing new data throughout; Muennighoff et al. 2023
            (arXiv 2305.16264) find little difference up to 4.

    Raises:
        DataError: a column is missing, a value is not a number, or no run was trained to its end.
    """
    lines = _rows(path)
    columns = _columns(path, list(lines[0]), parameters)
    remarks = []
    if "flops" not in columns:
        remarks.append(f"{path.name} has no FLOPs: C = {FLOPS_PER_PRODUCT:g} N D is assumed")
    if "samples" not in columns:
        remarks.append(f"{path.name} has no samples: D = C / ({FLOPS_PER_PRODUCT:g} N) is assumed")
    values: dict[str, list[float]] = {name: [] for name in NAMES}
    names: list[str] = []
    rows: Rows = []
    left_out: list[tuple[str, str]] = []
    seen: dict[tuple[float, ...], str] = {}
    usual = _usual_validation_set(lines)
    for number, line in enumerate(lines, start=2):  # the first line has the names
        row = {key.strip().lower(): value for key, value in line.items() if key}
        name = row.get("name") or f"line {number}"
        reason = _unusable(row, usual)
        if reason:
            left_out.append((name, reason))
            continue
        numbers = _numbers(path, number, line, columns)
        if not math.isfinite(numbers["loss"]):
            left_out.append((name, f"it diverged: its loss is {line[columns['loss']]}"))
            continue
        repeated = seen.setdefault((*numbers.values(), float(row.get("seed") or 0)), name)
        if repeated != name:
            left_out.append((name, f"the same run as {repeated}"))
            continue
        names.append(name)
        rows.append(row)
        for key, value in numbers.items():
            values[key].append(value)
    if not names:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out[:MOST_NAMES])
        raise DataError(
            f"no run was trained to its end ({reasons})", where=path, rule=f"status is one of {', '.join(FINISHED[1:])}"
        )
    arrays = {key: np.array(column) for key, column in values.items()}
    again = (arrays["samples"] > arrays["unique"]) & (arrays["samples"] <= most_epochs * arrays["unique"])
    if again.any() and most_epochs > 1:
        remarks.append(f"{again.sum()} runs of up to {most_epochs:g} epochs count as seeing new data throughout")
        arrays["unique"] = np.where(again, arrays["samples"], arrays["unique"])
    runs = Observations(**arrays)
    remarks += _inconsistent(runs, names) + _mixed(rows, names)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Table(
        runs,
        tuple(names),
        tuple(rows),
        tuple(left_out),
        tuple(remarks),
        _seed_noise(runs, rows),
        path,
        digest,
        most_epochs,
    )


def _rows(path: Path) -> Rows:
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


def _columns(path: Path, there: list[str], parameters: str) -> dict[str, str]:
    """The table's own name of each column that it has."""
    by_case = {column.strip().lower(): column for column in there if column}
    wanted = NAMES | ({"parameters": NON_EMBEDDING} if parameters == "non_embedding" else {})
    found = {
        key: by_case[name.lower()]
        for key, names in wanted.items()
        for name in reversed(names)
        if name.lower() in by_case
    }
    for key in ("parameters", "loss"):
        if key not in found:
            raise DataError(
                f"has no column for {key}",
                where=path,
                rule=f"one of {', '.join(wanted[key])}; it has {', '.join(there)}",
                fix="separate columns by commas" if len(there) == 1 else did_you_mean(wanted[key][0], there),
            )
    if "flops" not in found and "samples" not in found:
        raise DataError(
            "has neither FLOPs nor samples",
            where=path,
            rule=f"one of {', '.join((*NAMES['flops'], *NAMES['samples']))}; it has {', '.join(there)}",
        )
    return found


def _unusable(row: dict[str, str], usual: str) -> str:
    """Why a run has no part in a fit; empty if it has."""
    status = row.get("status") or ""
    if status not in FINISHED:
        return f"{status}: {row['reason']}" if row.get("reason") else status
    if row.get("reason"):
        return row["reason"]
    if row.get("role") == "trunk":
        return "a trunk: its learning rate does not cool down"
    if (row.get("validation_set") or usual) != usual:
        return f"validated on another set ({row['validation_set']}) than most runs ({usual})"
    return ""


def _usual_validation_set(lines: Rows) -> str:
    sets = [line["validation_set"] for line in lines if line.get("validation_set") and line.get("status") in FINISHED]
    return Counter(sets).most_common(1)[0][0] if sets else ""


def _numbers(path: Path, line: int, row: dict[str, str], columns: dict[str, str]) -> dict[str, float]:
    """All five, of which the loss alone may be infinite or not a number."""
    numbers = {}
    for key, column in columns.items():
        try:
            numbers[key] = float(row[column])
            usable = numbers[key] > 0 and math.isfinite(numbers[key])
        except (TypeError, ValueError):
            usable = False
        else:
            usable |= key == "loss" and not math.isfinite(numbers[key])
        if not usable:
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
    """Runs whose FLOPs do not go with N D: k = C / (N D) is that of the others, or follows the size as theirs does."""
    log_k, log_n = np.log(runs.flops / (runs.parameters * runs.samples)), np.log(runs.parameters)
    expected = np.full(len(runs), np.log(runs.flops_per_product))
    if len(np.unique(log_n)) >= FEWEST_SIZES:
        from scipy.stats import theilslopes

        with np.errstate(invalid="ignore"):  # of its own interval, which is not asked for
            slope, intercept = theilslopes(log_k, log_n)[:2]  # embeddings and attention weigh more in small models
        expected = intercept + slope * log_n
    ratio: Array = np.exp(log_k - expected)
    return [
        f"{names[index]}: C / (N D) is {ratio[index]:.2f} of the other runs'"
        for index in np.flatnonzero(np.abs(np.log(ratio)) > np.log1p(FLOPS_TOLERANCE))
    ]


def _mixed(rows: Rows, names: list[str]) -> list[str]:
    """Runs that differ in what a law does not know."""
    remarks = []
    for column in ("schedule", "precision"):
        kinds: dict[str, list[str]] = {}
        for row, name in zip(rows, names, strict=True):
            if row.get(column):
                kinds.setdefault(row[column], []).append(name)
        if len(kinds) > 1:
            counts = ", ".join(f"{len(members)} {kind} ({members[0]} ...)" for kind, members in kinds.items())
            remarks.append(f"runs differ in their {column}: {counts}; a law takes them for the same")
    return remarks


def _seed_noise(runs: Observations, rows: Rows) -> SeedNoise | None:
    """From runs that share N, D, U and all of `SHARED`, and have different seeds, if the table tells seeds."""
    points: dict[tuple[object, ...], dict[str, int]] = {}
    for index, row in enumerate(rows):
        place = (runs.parameters[index], runs.samples[index], runs.unique[index])
        key = (*place, *(row.get(name, "") for name in SHARED))
        points.setdefault(key, {}).setdefault(row.get("seed") or str(index), index)
    return seed_noise(runs.loss, [np.array(list(members.values())) for members in points.values()])
