"""A prediction that is written down before the run, with a hash of what it says: later edits are noticed."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from weather.errors import ConfigError, DataError
from weather.presentation.writing import plain
from weather.runtime.run_folder import git_commit
from weather.study.folder import StudyFolder
from weather.study.results.prediction import METHOD, Prediction
from weather.study.results.table import Table

SAME_BUDGET = 0.05  # runs whose FLOPs differ by less are of the budget that a prediction is about


def register(
    folder: Path, prediction: Prediction, table: Table, study: StudyFolder | None, *, not_blind: bool = False
) -> Path:
    """Write ``<id>.json``; a prediction that stands is never written over.

    Args:
        folder: of the predictions.
        study: that the run is one of, if it is.
        not_blind: register although the run has begun; the file says so.

    Raises:
        ConfigError: the run has begun, or such a prediction is registered.
        DataError: the folder cannot be written.
    """
    begun = [] if study is None else _begun(study, prediction)
    if begun and not not_blind:
        raise ConfigError(
            f"{', '.join(begun)} has begun",
            where=study.path if study else "",
            rule="a prediction is registered before its run",
            fix="--not_blind registers it all the same, and the file says so",
        )
    name = re.sub(r"[^\w.+-]", "_", prediction.name or f"flops_{prediction.ahead.flops:.4g}")
    foretold = prediction.foretold
    content = {
        "id": name,
        "run": prediction.name or None,
        "flops": prediction.ahead.flops,
        "parameters": dataclasses.asdict(foretold.parameters),
        "samples": dataclasses.asdict(foretold.samples),
        "unique_samples": prediction.ahead.unique,
        "steps": prediction.steps,
        "loss": dataclasses.asdict(foretold.loss),
        "loss_by_fit": {method: dataclasses.asdict(each) for method, each in foretold.by_fit.items()},
        "level": foretold.loss.level,
        "noise": foretold.noise,
        "method": METHOD,
        "laws": {method: dataclasses.asdict(law) for method, law in foretold.laws.items()},
        "remarks": prediction.remarks,
        "blind": not begun,
        "begun": begun,
        "table": str(table.path),
        "table_sha256": table.digest,
        "fitted": prediction.fitted,
        "held_back": prediction.held_back,
        "validation_set": prediction.validation_set,
        "commit": git_commit(),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    record: dict[str, Any] = plain(content)
    record["hash"] = content_hash(record)
    path = folder / f"{name}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        with open(partial, "w", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)  # whole or not at all, and never over one that stands
        partial.unlink()
    except FileExistsError as error:
        raise ConfigError(
            "is registered already", where=path, rule="a prediction stands", fix="score it, or move it away"
        ) from error
    except OSError as error:
        raise DataError(f"cannot be written ({error})", where=path) from error
    return path


def content_hash(record: dict[str, Any]) -> str:
    """SHA-256 of all but the hash itself, as JSON with sorted keys and no spaces."""
    content = {key: value for key, value in record.items() if key != "hash"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_registered(path: Path) -> dict[str, Any]:
    """A registered prediction as it was written.

    Raises:
        DataError: there is none, it is damaged, or it was edited.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        stated = record["hash"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"is no registered prediction ({type(error).__name__}: {error})", where=path) from error
    if content_hash(record) != stated:
        raise DataError(
            "was edited after it was registered",
            where=path,
            rule=f"its content has the hash {content_hash(record)[:12]}, and it states {str(stated)[:12]}",
            fix="restore the file, or move it away",
        )
    return dict(record)


def _begun(study: StudyFolder, prediction: Prediction) -> list[str]:
    """The run, or those of the same budget that were not fitted, as far as they have begun."""
    if prediction.name:
        return [prediction.name] if study.has_begun(prediction.name) else []
    flops = prediction.ahead.flops
    return [
        run.name
        for run in study.read_plan().runs
        if run.role != "trunk" and abs(run.cost.flops / flops - 1) < SAME_BUDGET and study.has_begun(run.name)
    ]
