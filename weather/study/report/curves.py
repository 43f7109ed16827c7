"""What a run logged while it trained: its losses and learning rate, and how far it came."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weather.runtime.run_folder import ENVIRONMENT_FILE
from weather.study.fits.laws import Array
from weather.study.results.records import Record, read_records

SHOWN_POINTS = 150  # of a curve: more are not seen, and make the page large


@dataclass(frozen=True)
class Curves:
    """A run by its logged steps.

    Attributes:
        steps, flops, loss, learning_rate: of each logged step, shape [step]; a loss that was not finite is NaN.
        validation_flops, validation_loss: of each validation, shape [validation].
        environment: versions, commit, device and command of its last start; empty where it was not written.
    """

    steps: Array
    flops: Array
    loss: Array
    learning_rate: Array
    validation_flops: Array
    validation_loss: Array
    environment: dict[str, Any]

    def thinned(self) -> tuple[Array, Array, Array]:
        """(FLOPs, loss, learning rate) as means over stretches of the run, at most SHOWN_POINTS."""
        stretches = [part for part in np.array_split(np.arange(len(self.steps)), SHOWN_POINTS) if part.size]
        flops = np.array([self.flops[part[-1]] for part in stretches])
        loss = np.array([_mean(self.loss[part]) for part in stretches])
        rate = np.array([self.learning_rate[part[-1]] for part in stretches])
        return flops, loss, rate


def read_curves(run: Path) -> Curves:
    """Read a run's folder; a line that was cut short ends nothing.

    Raises:
        DataError: the files cannot be read.
    """
    records = read_records(run)
    # After a restart from a checkpoint some steps are made again, and these are the ones that count.
    training = {int(record["step"]): record for record in records.train}
    validations = {int(record["step"]): record for record in records.validation}
    steps = sorted(training)
    flops = _column(training, steps, "flops")
    seen = sorted(validations) if steps else []
    return Curves(
        np.array(steps, float),
        flops,
        _column(training, steps, "loss"),
        _column(training, steps, "learning_rate"),
        np.interp(seen, steps, flops) if seen else np.array([]),
        _column(validations, seen, "loss"),
        _environment(run / ENVIRONMENT_FILE),
    )


def _column(records: dict[int, Record], steps: list[int], key: str) -> Array:
    return np.array([np.nan if records[step].get(key) is None else records[step][key] for step in steps], float)


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _environment(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
