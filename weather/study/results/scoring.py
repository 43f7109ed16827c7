"""Registered predictions beside what came out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from weather.errors import DataError
from weather.presentation.writing import write_json
from weather.study.folder import StudyFolder
from weather.study.results.collection import collect_study
from weather.study.results.prediction import predictions_folder
from weather.study.results.registration import SAME_BUDGET, read_registered
from weather.study.results.row import Row

SCORE_SUFFIX = ".score.json"
SAME = 1e-6  # N, D and C of the run are whole numbers, and those registered are theirs


@dataclass(frozen=True)
class Score:
    """How a prediction held.

    Attributes:
        id: of the prediction.
        run: that it is judged by; None where none has finished.
        blind: whether it was registered before the run.
        estimate, low, high, level: of the registered loss.
        loss: that came out.
        inside: whether the loss lies in its interval; None where it cannot be said.
        error: of the estimate, as a share of the loss that came out.
        deviations: ln of the loss over its estimate in standard deviations, as the interval has them if it is normal.
        pending: why it cannot be scored; empty if it can.
    """

    id: str
    run: str | None
    blind: bool
    estimate: float
    low: float
    high: float
    level: float
    loss: float | None = None
    inside: bool | None = None
    error: float | None = None
    deviations: float | None = None
    pending: str = ""


def score_study(study: StudyFolder, ids: Sequence[str] = ()) -> list[Score]:
    """Score predictions, and write ``<id>.score.json`` of those that can be.

    Args:
        ids: which; none: all.

    Raises:
        DataError: no prediction is registered, or one was edited; nothing is scored then.
    """
    folder = predictions_folder(study.path)
    paths = [folder / f"{name}.json" for name in ids]
    paths = paths or sorted(path for path in folder.glob("*.json") if not path.name.endswith(SCORE_SUFFIX))
    if not paths:
        study.read_plan()  # where there is no study, it says so
        raise DataError(
            "no prediction is registered",
            where=folder,
            fix="python -m weather.scaling predict STUDY --flops C --register",
        )
    records = [read_registered(path) for path in paths]
    rows = collect_study(study)
    scores = [score(record, rows) for record in records]
    for each in scores:
        if not each.pending:
            write_json(folder / f"{each.id}{SCORE_SUFFIX}", dataclasses.asdict(each))
    return scores


def score(record: dict[str, Any], rows: Sequence[Row]) -> Score:
    """Judge a registered prediction by the run that it names, or by the best run of its budget.

    Args:
        record: as `read_registered` gives it.
        rows: of the study's runs, finished or not.
    """
    loss = record["loss"]
    interval = {key: loss[key] for key in ("estimate", "low", "high", "level")}
    run, pending = _named(record, rows) if record["run"] else _best_of_budget(record, rows)
    known = Score(record["id"], run["name"] if run else record["run"], record["blind"], **interval, pending=pending)
    if run is None or pending:
        return known
    seen = float(run["loss"])
    deviation = math.log(loss["high"] / loss["low"]) / 2 / NormalDist().inv_cdf((1 + loss["level"]) / 2)
    return dataclasses.replace(
        known,
        loss=seen,
        inside=loss["low"] <= seen <= loss["high"],
        error=loss["estimate"] / seen - 1,
        deviations=math.log(seen / loss["estimate"]) / deviation,
    )


def exit_status(scores: Sequence[Score]) -> int:
    """0: all that can be scored lie inside; 3: one lies outside."""
    return 3 if any(each.inside is False for each in scores) else 0


def _named(record: dict[str, Any], rows: Sequence[Row]) -> tuple[Row | None, str]:
    run = next((row for row in rows if row["name"] == record["run"]), None)
    if run is None:
        return None, f"the study has no run '{record['run']}'"
    if run["status"] != "finished":
        return run, _unfinished(run)
    sizes = (run["N"], run["N_non_embedding"])
    for what, asked, found in (
        ("N", record["parameters"]["estimate"], sizes),
        ("D", record["samples"]["estimate"], (run["D"],)),
        ("C", record["flops"], (run["C"],)),
    ):
        if not any(math.isclose(asked, value, rel_tol=SAME) for value in found):
            return run, f"{run['name']} is another run than was foretold: its {what} is {found[0]:g}, not {asked:g}"
    return run, _unusable(record, run)


def _best_of_budget(record: dict[str, Any], rows: Sequence[Row]) -> tuple[Row | None, str]:
    """The least loss among the runs of the budget, once all of them have finished."""
    about = [row for row in rows if row.get("C") and row.get("role") != "trunk" and row["name"] not in record["fitted"]]
    there = [row for row in about if abs(row["C"] / record["flops"] - 1) < SAME_BUDGET]
    usable = [row for row in there if row["status"] == "finished" and not _unusable(record, row)]
    if not usable:
        reasons = "; ".join(
            _unfinished(row) if row["status"] != "finished" else _unusable(record, row) for row in there
        )
        return None, f"no run of {record['flops']:.4g} FLOPs has finished" + (f" ({reasons})" if reasons else "")
    return min(usable, key=lambda row: float(row["loss"])), ""


def _unfinished(run: Row) -> str:
    return f"{run['name']} is {run['status']}" + (f": {run['reason']}" if run.get("reason") else "")


def _unusable(record: dict[str, Any], run: Row) -> str:
    if run["reason"]:
        return f"{run['name']}: {run['reason']}"
    if record["validation_set"] and run["validation_set"] != record["validation_set"]:
        return f"{run['name']} was validated on another set than the runs that were fitted"
    return ""
