"""What a run has written of itself: its starts, steps, evaluations and its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.errors import DataError
from weather.runtime.run_folder import METRICS_FILE, parse_records

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
        steps = [self.first_step, *(int(record["step"]) for record in (*self.train[-1:], *self.validation[-1:]))]
        if self.end is not None:
            steps.append(int(self.end["step"]))
        return max(steps)


def read_records(folder: Path) -> RunRecords:
    """Read the records of a run; a line that is no record of a step, such as half of one, is passed over.

    Raises:
        DataError: the folder has none, or they cannot be read.
    """
    path = folder / METRICS_FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise DataError("no run here", where=folder, rule=f"a run's folder holds {METRICS_FILE}") from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    starts: list[Record] = []
    kinds: dict[str, list[Record]] = {"train": [], "validation": []}
    end: Record | None = None
    for record in parse_records(text):
        event = record["event"] if "step" in record else None
        if event in ("start", "resume"):
            starts.append(record)
            end = None
        elif event == "stop":
            end = record
        elif event in kinds:
            kinds[event].append(record)
    return RunRecords(tuple(starts), tuple(kinds["train"]), tuple(kinds["validation"]), end)
