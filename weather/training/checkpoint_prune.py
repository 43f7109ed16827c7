"""Removes checkpoints that a user no longer wants; never the newest, never the best, never under a running run."""

from __future__ import annotations

import contextlib
from pathlib import Path

from weather.errors import CheckpointError
from weather.runtime.run_folder import hold
from weather.training.checkpoint import Checkpoint
from weather.training.checkpoint_commit import remove_checkpoint
from weather.training.checkpoint_list import Entry, list_checkpoints
from weather.training.checkpoint_verify import verify


def plan_prune(folder: Path, keep: int, *, damaged: bool, partial: bool) -> list[Entry]:
    """What would be removed: all complete ones but the newest `keep` and the best; on request what is not complete.

    Raises:
        CheckpointError: `keep` is below 1, or one of those to keep is damaged.
    """
    if keep < 1:
        raise CheckpointError(f"--keep {keep}", rule="at least 1: the newest is what a run goes on from")
    entries = list_checkpoints(folder)
    complete = [entry for entry in entries if entry.status == "complete"]
    superseded = [entry for entry in complete[:-keep] if not entry.best and not _branched_off(entry)]
    if superseded:
        for entry in complete:
            if entry not in superseded and entry.checkpoint is not None:
                _refuse_damage(entry.checkpoint)
    unwanted = {"damaged": damaged, "partial": partial}
    return superseded + [entry for entry in entries if unwanted.get(entry.status, False)]


def _branched_off(entry: Entry) -> bool:
    """Whether the run keeps it for others to begin at."""
    checkpoint = entry.checkpoint
    return checkpoint is not None and checkpoint.progress.step in checkpoint.config["training"].get("save_at_steps", ())


def _refuse_damage(kept: Checkpoint) -> None:
    """What is to be kept must be whole, before what could stand in for it is removed."""
    try:
        verify(kept)
    except CheckpointError as problem:
        raise CheckpointError(
            f"nothing is removed, for one of those to keep is not whole: {problem}",
            fix="start the run again, which sets it aside, or rename it, and prune then",
        ) from problem


def prune(folder: Path, keep: int, *, damaged: bool, partial: bool) -> list[Entry]:
    """Remove what `plan_prune` says, and give it.

    Raises:
        LaunchError: a run uses the folder.
        CheckpointError: one cannot be removed.
    """
    with contextlib.ExitStack() as locks:
        hold(locks, folder)  # as a run does as long as it lives
        doomed = plan_prune(folder, keep, damaged=damaged, partial=partial)
        for entry in doomed:
            try:
                remove_checkpoint(entry.path)
            except OSError as error:
                raise CheckpointError(f"cannot be removed ({error})", where=entry.path) from error
        return doomed
