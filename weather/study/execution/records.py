"""What is on disk of a run: the end of its metrics.jsonl, its attempts, the end of its log, its newest checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from weather.presentation.writing import write_whole
from weather.runtime.run_folder import LOCK_FILE, METRICS_FILE, parse_records
from weather.study.folder import StudyFolder
from weather.training.checkpoint import FINAL_NAME, MARKER

TAIL_BYTES = 256 * 1024  # of a metrics.jsonl: some hundred steps, or evaluations of some hundred channels
LOG_TAIL_BYTES = 64 * 1024
ATTEMPTS_KEPT = 20
#: The last line of a failure, as every command of this project, its batch scripts and Python itself write it.
ERROR_LINE = re.compile(r"^(\w*(Error|Exception)( \[rank \d+\])?: .+|error: .+)$")
#: How an attempt ended: `died` is without a word, such as by SIGKILL.
Outcome = Literal["finished", "stopped", "failed", "died"]


@dataclass(frozen=True)
class Metrics:
    """The last records of each kind.

    Attributes:
        events: of these kinds, the last: train, validation, start, resume.
        stop: how the last start ended; None while it has not.
        written: when the file was written last, seconds since 1970; 0 if it is not there.
    """

    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    stop: dict[str, Any] | None = None
    written: float = 0.0

    def last(self, event: str) -> dict[str, Any]:
        return self.events.get(event, {})

    @property
    def step(self) -> int:
        """The last step that any record tells of."""
        known = [*self.events.values(), *([self.stop] if self.stop else [])]
        return max((int(record.get("step") or 0) for record in known), default=0)


@dataclass(frozen=True)
class Attempt:
    """One start of a run; ``logs/RUN.json`` keeps the last ones.

    Attributes:
        started, ended: seconds since 1970; `ended` is None where nobody saw it.
        host: that it was started from.
        pid: of its process, on that host.
        job: of SLURM, with the number in its array.
        checkpoint_step: of the newest checkpoint when it began, 0 without one.
        planned_steps: of the run, when it began.
        log_offset: bytes of the log that are older.
        status: its exit status, negative a signal; None where nobody saw it.
        outcome: None until its end was judged.
    """

    started: float
    host: str
    pid: int | None = None
    job: str | None = None
    checkpoint_step: int = 0
    planned_steps: int = 0
    log_offset: int = 0
    ended: float | None = None
    status: int | None = None
    outcome: Outcome | None = None


def read_metrics(folder: StudyFolder, name: str) -> Metrics:
    """The last records of a study's run."""
    return metrics_of(folder.run(name))


def metrics_of(run_folder: Path) -> Metrics:
    """The last records of a run; lines that are half written, or damaged, are passed over."""
    path = run_folder / METRICS_FILE
    try:
        facts = path.stat()
    except OSError:
        return Metrics()
    return _read_metrics(path, facts.st_mtime_ns, facts.st_size)


@functools.lru_cache(maxsize=4096)
def _read_metrics(path: Path, modified: int, size: int) -> Metrics:
    events: dict[str, dict[str, Any]] = {}
    stop: dict[str, Any] | None = None
    for record in parse_records(_end_of(path, TAIL_BYTES)):
        event = record["event"]
        if event in ("start", "resume"):
            stop = None
        if event == "stop":
            stop = record
        elif event in ("train", "validation", "start", "resume"):
            events[event] = record
    return Metrics(events, stop, modified / 1e9)


def attempts_file(folder: StudyFolder, name: str) -> Path:
    return folder.log_file(name).with_suffix(".json")


def read_attempts(folder: StudyFolder, name: str) -> list[Attempt]:
    """The attempts at a run, oldest first; none where the file is missing or damaged."""
    try:
        record = json.loads(attempts_file(folder, name).read_text(encoding="utf-8"))
        return [Attempt(**attempt) for attempt in record["attempts"]]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def write_attempts(folder: StudyFolder, name: str, attempts: list[Attempt]) -> None:
    """Replace the record of a run's attempts."""
    kept = [dataclasses.asdict(attempt) for attempt in attempts[-ATTEMPTS_KEPT:]]
    write_whole(attempts_file(folder, name), json.dumps({"run": name, "attempts": kept}, indent=1) + "\n")


def change_last_attempt(folder: StudyFolder, name: str, **values: Any) -> None:
    """Note something about the last attempt, if there is one."""
    attempts = read_attempts(folder, name)
    if attempts:
        write_attempts(folder, name, [*attempts[:-1], dataclasses.replace(attempts[-1], **values)])


def log_size(folder: StudyFolder, name: str) -> int:
    try:
        return folder.log_file(name).stat().st_size
    except OSError:
        return 0


def log_lines(folder: StudyFolder, name: str, offset: int) -> list[str]:
    """The last lines that a run has printed after `offset` bytes, empty ones left out."""
    text = _end_of(folder.log_file(name), LOG_TAIL_BYTES, offset)
    return [line.strip() for line in text.splitlines() if line.strip()]


def error_line(lines: list[str]) -> str:
    """The last line that reports a failure; empty without one."""
    return next((line for line in reversed(lines) if ERROR_LINE.match(line)), "")


def newest_checkpoint_step(folder: StudyFolder, name: str) -> int:
    """Step of the newest complete checkpoint of a run, 0 without one."""
    steps = [0]
    for marker in (folder.checkpoint_dir / name).glob(f"checkpoint_*/{MARKER}"):
        if FINAL_NAME.fullmatch(marker.parent.name):
            # A marker may be removed while this is read.
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                steps.append(int(json.loads(marker.read_text(encoding="utf-8"))["step"]))
    return max(steps)


def read_lock(folder: Path) -> tuple[int, str, float] | None:
    """Process, host and time, in seconds since 1970, of the last that took the lock of a folder, if anybody has."""
    path = folder / LOCK_FILE
    try:
        text = re.fullmatch(r"process (\d+) on (\S+)\s*", path.read_text(encoding="utf-8"))
        return (int(text[1]), text[2], path.stat().st_mtime) if text else None
    except (OSError, UnicodeDecodeError):
        return None


def process_lives(pid: int, not_after: float) -> bool:
    """Whether a process of this host lives that has that number and is not a later one.

    Args:
        not_after: seconds since 1970 at which it was there already.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(line for line in _proc_stat() if line.startswith("btime"))
    except FileNotFoundError:
        return not Path("/proc/self/stat").exists() and _answers(pid)
    except (OSError, StopIteration):
        return _answers(pid)
    started = int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return fields[0] not in "ZX" and started <= not_after + 2  # `btime` is in whole seconds


def _proc_stat() -> list[str]:
    return Path("/proc/stat").read_text().splitlines()


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_of(path: Path, size: int, offset: int = 0) -> str:
    """The last bytes of a file that lie behind `offset`, as text; empty without a file."""
    try:
        with open(path, "rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - size, offset if offset <= end else 0))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
