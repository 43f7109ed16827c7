"""What a run has written of itself: its starts, steps, evaluations and its end."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.errors import DataError
from weather.runtime.run_folder import LOCK_FILE, METRICS_FILE

COMPLETE = ("complete", "flops_budget", "time_budget", "max_steps")
RESUMABLE = ("signal", "walltime")
Record = dict[str, Any]


@dataclass(frozen=True)
class RunRecords:
    """The records of metrics.jsonl, in their order.

    Attributes:
        starts: `start` and `resume`, one each time that the run was started.
        train, validation: of logged steps and of evaluations.
        end: the `stop` of the last start; None while it runs, or where it was killed.
    """

    starts: tuple[Record, ...]
    train: tuple[Record, ...]
    validation: tuple[Record, ...]
    end: Record | None

    @property
    def first_step(self) -> int:
        """Step after which the run's own steps begin: that of the checkpoint that it leaves; 0 where it leaves none."""
        return int(self.starts[0]["step"]) if self.starts else 0

    @property
    def last_step(self) -> int:
        """Step that the records have come to."""
        steps = [self.first_step, *(int(record["step"]) for record in self.train[-1:])]
        if self.end is not None:
            steps.append(int(self.end["step"]))
        return max(steps)


def read_records(folder: Path) -> RunRecords:
    """Read the records of a run; a line that a killed process left half written is passed over.

    Raises:
        DataError: the folder has none, or they cannot be read.
    """
    path = folder / METRICS_FILE
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError as error:
        raise DataError("no run here", where=folder, rule=f"a run's folder holds {METRICS_FILE}") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    starts: list[Record] = []
    kinds: dict[str, list[Record]] = {"train": [], "validation": []}
    end: Record | None = None
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            event = record.get("event")
            if event in ("start", "resume"):
                starts.append(record)
                end = None
            elif event == "stop":
                end = record
            elif event in kinds:
                kinds[event].append(record)
    return RunRecords(tuple(starts), tuple(kinds["train"]), tuple(kinds["validation"]), end)


def status(folder: Path, records: RunRecords) -> tuple[str, str]:
    """(status, reason) of a run that has begun: finished, failed, stopped or running."""
    if records.end is not None:
        reason = str(records.end["reason"])
        if reason in COMPLETE:
            return "finished", ""
        if reason in RESUMABLE:
            return "stopped", f"{reason} at step {records.last_step}"
        return "failed", str(records.end.get("error") or reason)
    if is_held(folder):
        return "running", f"at step {records.last_step}"
    return "stopped", f"killed after step {records.last_step}"


def is_held(folder: Path) -> bool:
    """Whether a process has the run's lock; False where the file system has no locks."""
    import fcntl

    try:
        with (folder / LOCK_FILE).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
