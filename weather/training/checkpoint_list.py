"""What lies in a folder of checkpoints: whole ones, damaged ones, and what a killed save left."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather.errors import CheckpointError
from weather.runtime.run_folder import CONFIG_FILE, read_config
from weather.training.checkpoint import (
    DAMAGED_NAME,
    MARKER,
    OWN_NAME,
    Checkpoint,
    DamagedCheckpoint,
    best_checkpoint,
    read_checkpoint,
)
from weather.training.preparation import checkpoint_folder


@dataclass(frozen=True)
class Entry:
    """A folder that a save made.

    Attributes:
        status: complete | damaged | unreadable | partial (of a save that was cut short or is under way).
        problem: what is wrong with it, if it is not complete.
        written: when, as ISO 8601 local time; empty if nothing was.
        bytes: on disk.
    """

    path: Path
    status: str
    problem: str
    written: str
    bytes: int
    checkpoint: Checkpoint | None = None
    best: bool = False

    def facts(self) -> dict[str, Any]:
        """For JSON."""
        facts: dict[str, Any] = {"path": str(self.path), "status": self.status, "best": self.best}
        if self.checkpoint is not None:
            facts |= dataclasses.asdict(self.checkpoint.progress)
            facts |= {"strategy": self.checkpoint.strategy, "world_size": self.checkpoint.world_size}
        return facts | {"bytes": self.bytes, "written": self.written, "problem": self.problem or None}


def find_folder(path: Path) -> Path:
    """The folder of checkpoints that a run's folder, a checkpoint or the folder itself means.

    Raises:
        WeatherError: there is none.
    """
    if (path / CONFIG_FILE).is_file():
        path = checkpoint_folder(read_config(path))
    elif is_checkpoint(path):
        path = path.parent
    if not path.is_dir():
        raise CheckpointError("there is no such folder", where=path, fix="name a run's folder or its checkpoints")
    if not _folders(path):
        inside = sorted(child.name for child in path.iterdir() if child.is_dir() and _folders(child))
        raise CheckpointError(
            "no checkpoints here", where=path, fix=f"name one of: {', '.join(inside)}" if inside else ""
        )
    return path


def is_checkpoint(path: Path) -> bool:
    """Whether a path is that of one checkpoint, whole or not, or of a copy of one."""
    named = OWN_NAME.fullmatch(path.name) or DAMAGED_NAME.fullmatch(path.name)
    return path.is_dir() and ((path / MARKER).exists() or named is not None)


def list_checkpoints(folder: Path) -> list[Entry]:
    """Everything in `folder` that a save made, by step; what does not tell its step comes last."""
    entries = [_entry(path) for path in _folders(folder)]
    best = best_checkpoint([e.checkpoint for e in entries if e.checkpoint is not None and e.status == "complete"])
    entries = [dataclasses.replace(entry, best=best is not None and entry.path == best.path) for entry in entries]
    return sorted(entries, key=lambda e: (e.checkpoint is None, e.checkpoint.progress.step if e.checkpoint else 0))


def to_verify(path: Path) -> list[Path]:
    """The checkpoint that `path` is, or all in the folder that it means but those set aside or cut short.

    Raises:
        WeatherError: there is none.
    """
    if is_checkpoint(path):
        return [path]
    folder = find_folder(path)
    entries = [entry for entry in list_checkpoints(folder) if not DAMAGED_NAME.fullmatch(entry.path.name)]
    paths = [entry.path for entry in entries if entry.status != "partial"]
    if not paths:
        raise CheckpointError("no complete checkpoint", where=folder)
    return paths


def print_table(folder: Path, entries: list[Entry]) -> None:
    """A table on the console."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(title=str(folder), box=SIMPLE, padding=(0, 1, 0, 0))
    said = [entry.checkpoint.progress for entry in entries if entry.checkpoint is not None]
    losses = {"validation loss": "validation_loss"}  # the best is by the last that is there
    for title, name in (("over leads", "leads_loss"), ("of rollouts", "rollout_loss")):
        if any(getattr(progress, name) is not None for progress in said):
            losses[title] = name
    columns = ("checkpoint", "step", "epoch", "samples", "FLOPs", *losses, "written by", "size", "written")
    for column in columns:
        table.add_column(column, justify="left" if column in ("checkpoint", "written by", "written") else "right")
    table.add_column("status")
    for entry in entries:
        cells = ["-"] * (5 + len(losses))
        if entry.checkpoint is not None:
            progress = entry.checkpoint.progress
            cells = [str(progress.step), str(progress.epoch), str(progress.samples), f"{progress.flops:.3g}"]
            cells += [_loss(getattr(progress, name)) for name in losses.values()]
            cells.append(f"{entry.checkpoint.strategy} on {entry.checkpoint.world_size}")
        status = entry.status + (", best" if entry.best else "")
        table.add_row(entry.path.name, *cells, size(entry.bytes), entry.written[:16].replace("T", " "), status)
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # into a file or a pipe, nothing needs to be folded
    console.print(table)
    for entry in entries:
        if entry.problem and entry.status != "partial":
            print(entry.problem)


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _folders(folder: Path) -> list[Path]:
    named = (p for p in folder.glob("checkpoint_*") if OWN_NAME.fullmatch(p.name) or DAMAGED_NAME.fullmatch(p.name))
    return sorted(path for path in named if path.is_dir() and not path.is_symlink())


def _entry(path: Path) -> Entry:
    checkpoint, status, problem = None, "complete", ""
    try:
        checkpoint = read_checkpoint(path)
    except DamagedCheckpoint as error:
        status, problem = "damaged", str(error)
    except CheckpointError as error:
        status, problem = "unreadable" if (path / MARKER).exists() else "partial", str(error)
    if DAMAGED_NAME.fullmatch(path.name):
        status, problem = "damaged", problem or f"{path}: it was found damaged and set aside"
    files = []
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):  # a run may be removing it at this moment
            files.append(file.stat())
    moment = max((file.st_mtime for file in files if stat.S_ISREG(file.st_mode)), default=0.0)
    written = datetime.datetime.fromtimestamp(moment).isoformat(timespec="seconds") if moment else ""
    count = sum(file.st_size for file in files if stat.S_ISREG(file.st_mode))
    return Entry(path, status, problem, written, count, checkpoint)
