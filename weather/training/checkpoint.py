"""What a checkpoint is, and how it is found and read.

A checkpoint is a folder: tensors in the format of `torch.distributed.checkpoint` under canonical names, `state.json`
with the run's progress, and a marker `COMPLETE` with size and digest of every file. It is written under a temporary
name, flushed, renamed, and only then marked; when old ones are removed, the marker goes first. Whatever has a marker
was whole once, and its digests tell whether it still is. Order is by step, not by name.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from weather.errors import CheckpointError
from weather.training.checkpoint_digest import ALGORITHM, FileDigest
from weather.training.checkpoint_reader import CONTENTS_FILE, TensorReader

MARKER = "COMPLETE"
STATE_FILE = "state.json"
TEMPORARY = ".partial"
REPLACED = ".replaced"
DAMAGED = ".damaged"
FINAL_NAME = re.compile(r"checkpoint_(epoch|step)_\d+")
OWN_NAME = re.compile(rf"{FINAL_NAME.pattern}({re.escape(TEMPORARY)}|{re.escape(REPLACED)})?")
DAMAGED_NAME = re.compile(rf"{OWN_NAME.pattern}{re.escape(DAMAGED)}(\.\d+)?")

# One process without a process group is a normal way to run, and the save may not touch this list from its thread.
warnings.filterwarnings("ignore", message="torch.distributed is disabled")


class DamagedCheckpoint(CheckpointError):
    """A checkpoint was whole once and is no longer: what is on disk is not what was written."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands; saved with every checkpoint.

    Attributes:
        step: completed optimizer steps; the sample position follows from it.
        samples, flops, seconds: spent so far, over all restarts.
        validation_loss: of these very weights, of one forecast, or None if they were not evaluated.
        leads_loss: the same, a mean over all of `data.random_leads`, or None.
        rollout_loss: the same, a mean over so many forecasts in a row as `rollout_forecasts` says, or None.
        ended: why the run ended here, if it did before all its steps.
        skipped: of the steps, those that changed no weight because their gradient was not finite.
        save_seconds: what the save before this one took, 0 if there was none.
    """

    step: int = 0
    epoch: int = 0
    samples: int = 0
    flops: int = 0
    seconds: float = 0.0
    validation_loss: float | None = None
    ended: str | None = None
    skipped: int = 0
    save_seconds: float = 0.0
    rollout_loss: float | None = None
    rollout_forecasts: int = 1
    leads_loss: float | None = None

    def evaluated(self, scores: Mapping[str, Any], longest: int) -> Progress:
        """With the losses of an evaluation, whose rollouts were so long; with none where it has none."""
        rollout = scores.get("rollout_loss")
        return dataclasses.replace(
            self,
            validation_loss=scores.get("loss"),
            leads_loss=scores.get("leads_loss"),
            rollout_loss=rollout,
            rollout_forecasts=1 if rollout is None else longest,
        )


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on disk.

    Attributes:
        config: the run's, resolved.
        samples: identity of the training samples, channels and statistics (`Prepared.identity`).
        files: size and digest of every file but the marker, by name.
        passed_over: what was damaged and set aside until this one was taken, a line each.
    """

    path: Path
    progress: Progress
    config: dict[str, Any]
    samples: dict[str, Any]
    world_size: int
    strategy: str
    files: dict[str, FileDigest] = dataclasses.field(default_factory=dict)
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A folder with a marker, and what is in it: a checkpoint, or a problem.

    Attributes:
        step: None if nothing readable says it.
    """

    path: Path
    step: int | None
    checkpoint: Checkpoint | None = None
    problem: CheckpointError | None = None

    def whole(self) -> Checkpoint:
        """The checkpoint; raises the problem if there is one."""
        if self.problem is not None:
            raise self.problem
        assert self.checkpoint is not None
        return self.checkpoint


def read_checkpoint(path: Path) -> Checkpoint:
    """What a checkpoint says of itself; reads no tensor and checks no digest.

    Raises:
        DamagedCheckpoint: its marker or its state is not what was written.
        CheckpointError: the folder is no complete checkpoint, or cannot be read.
    """
    if not path.is_dir():
        raise CheckpointError("not a complete checkpoint: there is no such folder", where=path)
    step, files = _read_marker(path)
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        progress = Progress(**state["progress"])
        if progress.step != step:
            raise ValueError(f"it is of step {progress.step}, and {MARKER} of step {step}")
        return Checkpoint(
            path,
            progress,
            dict(state["config"]),
            dict(state["samples"]),
            int(state["world_size"]),
            str(state["strategy"]),
            files,
        )
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        if not (path / MARKER).exists():
            raise not_complete(path) from error  # it is being removed
        raise DamagedCheckpoint(f"{STATE_FILE} is damaged ({error})", where=path) from error
    except OSError as error:
        raise unreadable(path / STATE_FILE, error) from error


def _read_marker(path: Path) -> tuple[int, dict[str, FileDigest]]:
    """The step and the files that a marker names."""
    try:
        marker = json.loads((path / MARKER).read_text(encoding="utf-8"))
        files = {str(n): FileDigest(int(f["bytes"]), str(f[ALGORITHM])) for n, f in marker["files"].items()}
        missing = {STATE_FILE, CONTENTS_FILE} - files.keys()
        if missing or any(Path(name).name != name for name in files):
            raise ValueError(f"it names no {min(missing)}" if missing else "it names files of other folders")
        return int(marker["step"]), files
    except FileNotFoundError as error:
        raise not_complete(path) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedCheckpoint(f"{MARKER} is damaged ({error})", where=path) from error
    except OSError as error:
        raise unreadable(path / MARKER, error) from error


def not_complete(path: Path) -> CheckpointError:
    inside = [found.path.name for found in find_checkpoints(path)]
    if inside:
        return CheckpointError("it holds checkpoints, but is none", where=path, fix=f"name one: {', '.join(inside)}")
    return CheckpointError("not a complete checkpoint", where=path, rule=f"a whole one holds a file {MARKER}")


def unreadable(path: Path, error: OSError) -> CheckpointError:
    """For what may be whole, but cannot be read now: it must not be taken for damaged."""
    return CheckpointError(
        f"cannot be read ({type(error).__name__}: {error.strerror or error})",
        where=path,
        fix="mend permissions or the file system, or move the checkpoint away",
    )


def find_checkpoints(folder: Path) -> list[Found]:
    """All folders with a marker of a run, oldest first; what does not tell its step comes last."""
    found = []
    for marker in folder.glob(f"checkpoint_*/{MARKER}"):
        path = marker.parent
        if not OWN_NAME.fullmatch(path.name):
            continue  # a copy that a user made, or one that was set aside
        try:
            checkpoint = read_checkpoint(path)
            found.append(Found(path, checkpoint.progress.step, checkpoint))
        except CheckpointError as problem:
            if marker.exists():
                found.append(Found(path, _step_of_damaged(path), problem=problem))
    return sorted(found, key=lambda each: math.inf if each.step is None else each.step)


def _step_of_damaged(path: Path) -> int | None:
    try:
        return _read_marker(path)[0]
    except CheckpointError:
        name = re.match(r"checkpoint_step_(\d+)", path.name)
        return int(name[1]) if name else None


def complete_checkpoints(folder: Path) -> list[Checkpoint]:
    """All complete checkpoints of a run, oldest first; one that cannot be read is named and passed over."""
    found = find_checkpoints(folder)
    for each in found:
        if each.problem is not None:
            print(f"warning: {each.problem} It is passed over.", file=sys.stderr)
    return [each.checkpoint for each in found if each.checkpoint is not None]


def best_checkpoint(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one with the lowest validation loss over the longest rollout that any was evaluated on; of equals the first.

    Without rollouts it is the loss of one forecast, over all random leads if there are. Weights from before a run's
    rollouts often have the lowest of that.
    """
    losses = [_validation_losses(c.progress) for c in checkpoints]
    hardest = max((kind for each in losses for kind in each), default=None)
    judged = [(each[hardest], c) for each, c in zip(losses, checkpoints, strict=True) if hardest in each]
    return min(judged, key=lambda pair: pair[0], default=(None, None))[1]


def _validation_losses(progress: Progress) -> dict[tuple[int, bool], float]:
    """Finite ones by how many forecasts in a row they are over, and whether over all random leads."""
    losses = {
        (progress.rollout_forecasts, False): progress.rollout_loss,
        (1, False): progress.validation_loss,
        (1, True): progress.leads_loss,
    }
    return {kind: loss for kind, loss in losses.items() if loss is not None and math.isfinite(loss)}


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that nothing takes it for one again; nothing is deleted.

    Raises:
        CheckpointError: it cannot be renamed.
    """
    aside, number = path.with_name(path.name + DAMAGED), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}{DAMAGED}.{number}")
    try:
        os.rename(path, aside)
    except OSError as error:
        raise CheckpointError(f"is damaged and cannot be renamed ({error})", where=path) from error
    return aside


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
        dcp.load(state, storage_reader=reader, no_dist=not dist.is_initialized())
    except (Exception, CheckpointException) as error:
        raise CheckpointError(
            f"cannot be read ({line_of(error)})", where=path, fix="resume from an earlier one"
        ) from error


def line_of(error: BaseException) -> str:
    """What went wrong, on the first rank where it did."""
    if isinstance(error, CheckpointException) and error.failures:
        error = next(iter(error.failures.values()))[0]
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
