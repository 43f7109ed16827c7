"""A run's row in runs.csv: what it is, what it cost, what came out, and what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.errors import WeatherError
from weather.runtime.run_folder import CONFIG_FILE, ENVIRONMENT_FILE, METRICS_FILE, read_config
from weather.study.execution.state import RunState, observe_alone
from weather.study.folder import StudyFolder
from weather.study.one_forecast import obstacle
from weather.study.planned import PlannedRun
from weather.study.results.records import Record, RunRecords, read_records
from weather.training.schedule import learning_rate

WARM_UP = 5  # steps after each start that say nothing of the speed: allocation, compilation, first reads
LAST_LOGGED = 10  # training losses that are averaged: one is that of a single batch
UNCOOLED = 0.1  # of the peak: learning rates at the end that lie so far above the schedule's have not cooled down
WORSE = 1.1  # a training loss so much above the first one has diverged; that one is of a single batch, and scatters
Row = dict[str, Any]


def planned_row(study: StudyFolder, run: PlannedRun, state: RunState) -> Row:
    """The row of a study's run.

    Args:
        state: as `observe` finds it.
    """
    folder = study.run(run.name)
    labels = {f"label.{key}": value for key, value in run.labels.items()}
    row = {"name": run.name, "role": run.role, "trunk": run.trunk, **labels}
    row |= {"config": str(study.config_file(run.name)), "run": str(folder)}
    if not (folder / METRICS_FILE).exists():
        return row | _not_begun(run) | {"status": state.state, "reason": state.reason}
    return _recorded(row, folder, state.state, state.reason)


def lone_row(folder: Path) -> Row:
    """The row of a run of no study; a branch names its trunk."""
    row = {"name": folder.name, "role": "run", "config": str(folder / CONFIG_FILE), "run": str(folder)}
    with contextlib.suppress(WeatherError):  # a damaged config is named with the records
        start = read_config(folder).training.branch_from
        row |= {} if start is None else {"role": "branch", "trunk": Path(start).parent.name}
    return _recorded(row, folder, *observe_alone(folder))


def _recorded(row: Row, folder: Path, state: str, reason: str) -> Row:
    """With what a run that has begun has written of itself.

    D, C and seconds count from the start of the trunk that a run has left; own_C and own_seconds do not. Rates are
    medians over the run's own logged steps, without the first after each start. `training_loss` is the mean over the
    last ten logged steps. A finished run whose loss says nothing has a reason why.
    """
    try:
        records, config = read_records(folder), read_config(folder)
    except WeatherError as error:
        return row | {"status": "failed", "reason": str(error)}
    row |= {"status": state, "reason": reason}
    if not records.starts:
        return row
    row |= _facts(config, records.starts[-1]) | _surroundings(folder) | _spent(config, records)
    row |= _speed(config, records) | _quality(records) | {"storage_bytes": _storage(config, folder)}
    if state == "finished":
        row["reason"] = flaw(folder, config, records, row)
    return row


def flaw(folder: Path, config: ConfigWrapper, records: RunRecords, row: Row) -> str:
    """Why the loss of a finished run says nothing about its size and samples; empty if it does."""
    if not any(record["step"] == records.last_step for record in records.validation):
        return "it was not validated at its end"
    loss = row["loss"]
    if loss is None or not math.isfinite(loss):
        return "it diverged: its loss is not finite"
    first = _first_training_loss(folder, records, row.get("trunk"))
    last = row["training_loss"]  # that of validation may be of another season, and of data that were seen too often
    if first is not None and last is not None and last > WORSE * first:
        return f"it diverged: its training loss {last:.4g} is worse than the {first:.4g} that it began with"
    found = obstacle(config)
    if found is not None:
        return found[1]
    expected = records.starts[-1]["train_flops_per_sample"] * row["D"]
    if row["C"] != expected:
        return f"its FLOPs {row['C']:.6g} are not those of its samples, {expected:.6g}"
    section, end = config.training, records.train[-1] if records.train else None
    if section.schedule != "constant" and end is not None:
        planned = learning_rate(int(end["step"]) - 1, records.last_step, section)
        if end["learning_rate"] - planned > UNCOOLED * section.learning_rate:
            share = end["learning_rate"] / section.learning_rate
            return f"its cooldown did not happen: the learning rate ended at {share:.0%} of its peak"
    return ""


def _not_begun(planned: PlannedRun) -> Row:
    cost, training = planned.cost, planned.config.training
    return {
        "N": cost.parameters,
        "N_non_embedding": cost.non_embedding_parameters,
        "U": cost.unique_samples,
        "tokens_per_sample": cost.tokens_per_sample,
        "batch_size": training.batch_size,
        "schedule": training.schedule,
        "learning_rate": training.learning_rate,
        "seed": training.seed,
    }


def _facts(config: ConfigWrapper, start: Record) -> Row:
    training = config.training
    return {
        "N": start["parameters"],
        "N_non_embedding": start["non_embedding_parameters"],
        "U": start["training_samples"],
        "tokens_per_sample": start["tokens_per_sample"],
        "batch_size": training.batch_size,
        "schedule": training.schedule,
        "learning_rate": training.learning_rate,
        "seed": training.seed,
        "world_size": start["world_size"],
        "device": start["device"],
        "precision": start["precision"],
        "validation_samples": start["validation_samples"],
        "validation_set": start.get("validation_set"),
        "commit": start["commit"],
    }


def _surroundings(folder: Path) -> Row:
    try:
        environment = json.loads((folder / ENVIRONMENT_FILE).read_text(encoding="utf-8"))
        return {"nodes": environment["ranks"]["nodes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {"nodes": None}


def _spent(config: ConfigWrapper, records: RunRecords) -> Row:
    batch, steps = config.training.batch_size, records.last_step
    last = records.end if records.end and "flops" in records.end else (records.train or ({},))[-1]
    flops, seconds = last.get("flops"), last.get("seconds")
    own_steps = steps - records.first_step
    began = _seconds_at_first_step(records, batch)
    return {
        "steps": steps,
        "D": steps * batch,
        "epochs": steps * batch / records.starts[-1]["training_samples"],
        "C": flops,
        "own_C": None if flops is None or not steps else flops // steps * own_steps,
        "seconds": seconds,
        "own_seconds": None if seconds is None or began is None else seconds - began,
    }


def _seconds_at_first_step(records: RunRecords, batch: int) -> float | None:
    """What the trunk had spent where the run left it: the first logged step's seconds without its own stretch."""
    if records.first_step == 0:
        return 0.0
    if not records.train:
        return None
    first = records.train[0]
    samples = (first["step"] - records.first_step) * batch
    return float(max(0.0, first["seconds"] - samples / first["samples_per_second"]))


def _speed(config: ConfigWrapper, records: RunRecords) -> Row:
    cold = {step for start in records.starts for step in range(start["step"] + 1, start["step"] + WARM_UP + 1)}
    warm = [record for record in records.train if record["step"] not in cold] or list(records.train)
    row: Row = {key: _median(warm, key) for key in ("samples_per_second", "tflops", "mfu", "data_wait")}
    memory = [record["memory_gb"] for record in records.train if record.get("memory_gb") is not None]
    return row | {"memory_gb": max(memory, default=None)}


def _median(records: Sequence[Record], key: str) -> float | None:
    values = [record[key] for record in records if record.get(key) is not None]
    return statistics.median(values) if values else None


def _quality(records: RunRecords) -> Row:
    """Scores of the last evaluation, if it is of the last step, and the training loss."""
    losses = [record["loss"] for record in records.train[-LAST_LOGGED:] if record["loss"] is not None]
    row: Row = {"training_loss": statistics.fmean(losses) if losses else None, "loss": None}
    at_end = [record for record in records.validation if record["step"] == records.last_step]
    if at_end:
        scores = at_end[-1]
        row["loss"] = scores["loss"]
        row |= {key.replace("/", ".", 1): scores[key] for key in scores if key.startswith("rmse/")}
    return row


def _first_training_loss(folder: Path, records: RunRecords, trunk: str | None) -> float | None:
    """Of the run, or of the trunk that it left, if its records lie beside."""
    if trunk:
        try:
            records = read_records(folder.parent / trunk)
        except WeatherError:
            return None
    return records.train[0]["loss"] if records.train else None


def _storage(config: ConfigWrapper, folder: Path) -> int | None:
    """Bytes of the run's checkpoints, where they are now; None where there are none."""
    checkpoints = Path(config.training.checkpoint_dir) / str(config.experiment.name)
    if not checkpoints.is_dir():
        return None
    size = 0
    for path in checkpoints.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # a run may be removing its oldest
            size += path.stat().st_size if path.is_file() else 0
    return size
