"""Checkpoints that are either whole or not there.

A checkpoint is a folder: tensors in the format of `torch.distributed.checkpoint` under canonical names, `state.json`
with the run's progress, and a marker `COMPLETE`. It is written under a temporary name, flushed, renamed, and only
then marked; when old ones are removed, the marker goes first. Whatever has a marker is whole. Order is by step, not
by name. Kept are the newest `max_checkpoints` and the one with the lowest validation loss.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from weather.errors import CheckpointError
from weather.runtime.ranks import on_first_rank, rank_was_lost
from weather.training.checkpoint_reader import TensorReader

MARKER = "COMPLETE"
STATE_FILE = "state.json"
TEMPORARY = ".partial"
REPLACED = ".replaced"
OWN_NAME = re.compile(rf"checkpoint_(epoch|step)_\d+({re.escape(TEMPORARY)}|{re.escape(REPLACED)})?")


@dataclass(frozen=True)
class Progress:
    """Where a run stands; saved with every checkpoint.

    Attributes:
        step: completed optimizer steps; the sample position follows from it.
        samples, flops, seconds: spent so far, over all restarts.
        validation_loss: of these very weights, or None if they were not evaluated.
        ended: why the run ended here, if it did before all its steps.
        skipped: of the steps, those that changed no weight because their gradient was not finite.
    """

    step: int = 0
    epoch: int = 0
    samples: int = 0
    flops: int = 0
    seconds: float = 0.0
    validation_loss: float | None = None
    ended: str | None = None
    skipped: int = 0


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        config: the run's, resolved.
        samples: identity of the training samples, channels and statistics (`Prepared.identity`).
    """

    path: Path
    progress: Progress
    config: dict[str, Any]
    samples: dict[str, Any]
    world_size: int
    strategy: str


def read_checkpoint(path: Path) -> Checkpoint:
    """What a checkpoint says of itself; reads no tensor.

    Raises:
        CheckpointError: the folder is no complete checkpoint.
    """
    if not path.is_dir():
        raise CheckpointError("not a complete checkpoint: there is no such folder", where=path)
    if not (path / MARKER).is_file():
        inside = [c.path.name for c in complete_checkpoints(path)]
        if inside:
            raise CheckpointError("it holds checkpoints, but is none", where=path, fix=f"name one: {', '.join(inside)}")
        raise CheckpointError("not a complete checkpoint", where=path, rule=f"a whole one holds a file {MARKER}")
    try:
        state = json.loads((path / STATE_FILE).read_text())
        return Checkpoint(
            path,
            Progress(**state["progress"]),
            dict(state["config"]),
            dict(state["samples"]),
            int(state["world_size"]),
            str(state["strategy"]),
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{STATE_FILE} is damaged ({error})", where=path) from error


def complete_checkpoints(folder: Path) -> list[Checkpoint]:
    """All complete checkpoints of a run, oldest first; one whose state is damaged is named and passed over."""
    found = []
    for marker in folder.glob(f"checkpoint_*/{MARKER}"):
        if not OWN_NAME.fullmatch(marker.parent.name):
            continue  # a copy that a user made
        try:
            found.append(read_checkpoint(marker.parent))
        except CheckpointError as error:
            print(f"warning: {error} It is passed over.", file=sys.stderr)
    return sorted(found, key=lambda checkpoint: checkpoint.progress.step)


def best_checkpoint(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one with the lowest validation loss; of equals the first."""
    losses = [(c.progress.validation_loss, c) for c in checkpoints]
    judged = [(loss, c) for loss, c in losses if loss is not None and math.isfinite(loss)]
    return min(judged, key=lambda pair: pair[0], default=(None, None))[1]


class CheckpointStore:
    """The checkpoints of one run. All ranks call each method together.

    Args:
        folder: ``<checkpoint_dir>/<experiment name>``.
        max_checkpoints: newest ones kept; 0 keeps all.
    """

    def __init__(self, folder: Path, max_checkpoints: int) -> None:
        self.folder = folder
        self.max_checkpoints = max_checkpoints

    def save(self, name: str, state: Mapping[str, torch.Tensor], progress: Progress, facts: dict[str, Any]) -> Path:
        """Write a checkpoint and remove the ones that are no longer kept.

        Args:
            name: of its folder, ``checkpoint_epoch_5`` or ``checkpoint_step_1234``.
            state: tensors by canonical name, plain or sharded.
            facts: `config`, `samples`, `strategy`, `world_size`.

        Raises:
            CheckpointError: it cannot be written; the earlier checkpoints are untouched.
        """
        final, temporary = self.folder / name, self.folder / (name + TEMPORARY)
        on_first_rank(lambda: _guarded(temporary, lambda: _prepare(temporary)))
        writer = dcp.FileSystemWriter(temporary, single_file_per_rank=True, sync_files=True)
        try:
            with _single_process_is_meant():
                dcp.save(dict(state), storage_writer=writer, no_dist=not dist.is_initialized())
        except (Exception, CheckpointException) as error:
            if rank_was_lost(error):
                raise
            raise _failed(temporary, error) from error
        on_first_rank(lambda: _guarded(final, lambda: self._commit(temporary, final, progress, facts)))
        return final

    def _commit(self, temporary: Path, final: Path, progress: Progress, facts: dict[str, Any]) -> None:
        document = {"progress": progress.__dict__, **facts}
        _write_flushed(temporary / STATE_FILE, json.dumps(document, indent=1, allow_nan=False))
        _flush_folder(temporary)
        replaced = self.folder / (final.name + REPLACED)
        if final.exists():
            if replaced.exists():
                _remove(replaced)
            os.rename(final, replaced)  # still marked, and so still whole, until the new one is
        os.rename(temporary, final)
        _flush_folder(self.folder)
        _write_flushed(final / MARKER, f"step {progress.step}\n")
        _flush_folder(final)
        if replaced.exists():
            _remove(replaced)
        self._rotate()

    def _rotate(self) -> None:
        if self.max_checkpoints == 0:
            return
        checkpoints = complete_checkpoints(self.folder)
        best = best_checkpoint(checkpoints)
        for checkpoint in checkpoints[: -self.max_checkpoints]:
            if best is None or checkpoint.path != best.path:
                _remove(checkpoint.path)


def load_tensors(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Read the tensors that `state` names, in place, whatever strategy and world size wrote them.

    Raises:
        CheckpointError: a tensor is missing, has another shape, or cannot be read.
    """
    reader = TensorReader(path)
    saved = reader.shapes()
    for name, tensor in state.items():
        if name not in saved:
            raise CheckpointError(f"it holds no '{name}'", where=path, rule="it is of another model")
        if saved[name] != tuple(tensor.shape):
            raise CheckpointError(
                f"'{name}' has shape {list(saved[name])} there and {list(tensor.shape)} in this model",
                where=path,
                rule="a run is resumed with the model that it was started with",
                fix="use the run's own config, or another experiment.name",
            )
    try:
        with _single_process_is_meant():
            dcp.load(state, storage_reader=reader, no_dist=not dist.is_initialized())
    except (Exception, CheckpointException) as error:
        raise CheckpointError(
            f"cannot be read ({_line(error)})", where=path, fix="resume from an earlier one"
        ) from error


@contextlib.contextmanager
def _single_process_is_meant() -> Iterator[None]:
    """Without its warning that a process without a process group works alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _prepare(temporary: Path) -> None:
    """Make the folder to write into, and clear away what killed processes left: no whole checkpoint is among it."""
    for path in temporary.parent.glob("checkpoint_*"):
        if OWN_NAME.fullmatch(path.name) and not (path / MARKER).exists():
            shutil.rmtree(path)
    temporary.mkdir(parents=True)


def _remove(path: Path) -> None:
    """Take the marker off first: a removal that is cut short leaves nothing that looks whole."""
    (path / MARKER).unlink(missing_ok=True)
    _flush_folder(path)
    shutil.rmtree(path)


def _guarded(path: Path, action: Callable[[], None]) -> None:
    try:
        action()
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: Path, error: BaseException) -> CheckpointError:
    return CheckpointError(
        f"cannot write the checkpoint ({_line(error)})",
        where=path,
        fix="check the disk's space and permissions; earlier checkpoints are untouched",
    )


def _line(error: BaseException) -> str:
    """What went wrong, on the first rank where it did."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]


def _write_flushed(path: Path, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
