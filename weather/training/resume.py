"""Where a start of a run begins: at a checkpoint, or at step 0, and never silently over earlier work."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.runtime.collectives import on_first_rank
from weather.runtime.run_folder import METRICS_FILE
from weather.training.budget import RunLength
from weather.training.checkpoint import (
    DAMAGED_NAME,
    FINAL_NAME,
    MARKER,
    Checkpoint,
    DamagedCheckpoint,
    Found,
    Progress,
    find_checkpoints,
    not_complete,
    read_checkpoint,
    set_aside,
)
from weather.training.checkpoint_verify import verify
from weather.training.preparation import Prepared, changed_identity, changed_samples
from weather.training.rollout_schedule import RolloutSchedule


def find_resume_point(folder: Path, run: Path, resume: str, prepared: Prepared) -> Checkpoint | None:
    """The checkpoint to go on from, verified; None starts at step 0. All ranks call it together.

    A damaged one is named and set aside, and the one before it is taken.

    Args:
        folder: the run's checkpoints.
        run: the run's folder, whose records tell whether there were any.
        resume: auto (the run's newest, or where its config branches it off) | never | path of a checkpoint.

    Raises:
        CheckpointError: `never`, but there are checkpoints that would be mixed up or lost; a path that is no
            checkpoint, or a damaged one; a config or an archive under which the checkpoint's step or weights would
            mean something else; records of checkpoints that are not there; none that is not damaged; a file that
            cannot be read.
    """
    passed_over: list[str] = [] if resume == "never" else on_first_rank(lambda: _name_incomplete_ones(folder))
    while True:
        found, named = on_first_rank(lambda: _candidate(folder, run, resume, prepared.config.training.branch_from))
        if found is None:
            return None
        try:
            checkpoint = found.whole()
            verify(checkpoint)
            break
        except CheckpointError as problem:
            if named or not isinstance(problem, DamagedCheckpoint):
                problem.agreed = True
                raise
            passed_over.append(on_first_rank(functools.partial(_put_away, found.path, problem)))
    chosen = dataclasses.replace(checkpoint, passed_over=tuple(passed_over))
    changed = changed_identity(chosen.config, prepared.config) | _changed_rollouts(chosen, prepared.config)
    changed |= changed_samples(chosen.samples, prepared)
    if changed:
        key, (before, now) = next(iter(changed.items()))
        error = CheckpointError(
            f"{key} was {before!r} and is now {now!r}",
            where=chosen.path,
            rule="model, samples, batch, seed and the rollouts that were made stay the same over a run",
            fix="restore the value, or give another experiment.name; training.initial_weights begins a new run with "
            "the weights of another",
        )
        error.agreed = True
        raise error
    return chosen


def _changed_rollouts(checkpoint: Checkpoint, config: ConfigWrapper) -> dict[str, tuple[Any, Any]]:
    """What of `training.rollout_schedule` a run keeps, if it differs from the checkpoint's.

    The steps that were made, for FLOPs are their sum; the longest rollout, for it decides which samples there are.
    """
    before = checkpoint.config["training"].get("rollout_schedule", {"0": 1})
    now = config.training.rollout_schedule
    made = checkpoint.progress.step
    old, new = (RolloutSchedule.of({int(first): n for first, n in each.items()}) for each in (before, now))
    if old.up_to(made) != new.up_to(made):
        return {f"training.rollout_schedule before step {made}": (before, now)}
    if old.longest != new.longest:
        return {"the longest rollout of training.rollout_schedule": (old.longest, new.longest)}
    return {}


def _candidate(folder: Path, run: Path, resume: str, trunk: str | None) -> tuple[Found | None, bool]:
    """The checkpoint to go on from if it is whole (None: the run is to start), and whether the user named it."""
    existing = find_checkpoints(folder)
    if resume == "never":
        if existing:
            raise CheckpointError(
                f"--resume never, but the run has {len(existing)} checkpoint(s), the newest at step "
                f"{existing[-1].step}",
                where=folder,
                rule="a run is never started over on top of its checkpoints",
                fix="give another experiment.name, or move the folder away",
            )
        return None, False
    if resume == "auto" or Path(resume).resolve().parent != folder.resolve():
        if existing:
            return existing[-1], False  # one named elsewhere was where the run began, and it has come further since
        _refuse_damaged_ones(folder)
        if resume == "auto":
            # That a branch has resumed says nothing: it was at the trunk.
            _refuse_lost_checkpoints(folder, run, ("checkpoint",) if trunk else ("checkpoint", "resume"))
            if trunk is None:
                return None, False
            resume = trunk
    chosen = read_checkpoint(Path(resume))
    newer = [found.path.name for found in existing if found.step is None or found.step > chosen.progress.step]
    if newer:
        raise CheckpointError(
            f"the run already has newer checkpoints ({', '.join(newer)})",
            where=folder,
            rule="the next automatic resume would take them",
            fix="give another experiment.name, or move them away",
        )
    return Found(chosen.path, chosen.progress.step, chosen), True


def _name_incomplete_ones(folder: Path) -> list[str]:
    """Lines about what has a checkpoint's name but no marker: its save, or its removal, was cut short."""
    lines = []
    for path in sorted(folder.glob("checkpoint_*")):
        if FINAL_NAME.fullmatch(path.name) and not (path / MARKER).exists():
            lines.append(f"{not_complete(path)} It is passed over, and the next save clears it away.")
            print(f"warning: {lines[-1]}", file=sys.stderr)
    return lines


def _put_away(path: Path, problem: CheckpointError) -> str:
    """Set a damaged checkpoint aside; gives the line that says so."""
    line = f"{problem} It is set aside as {set_aside(path).name}."
    print(f"warning: {line}", file=sys.stderr)
    return line


def _refuse_damaged_ones(folder: Path) -> None:
    """A run must not begin anew because none of its checkpoints is whole."""
    damaged = sorted(path.name for path in folder.glob("checkpoint_*") if DAMAGED_NAME.fullmatch(path.name))
    if damaged:
        raise CheckpointError(
            f"no checkpoint is left that is whole; damaged: {', '.join(damaged)}",
            where=folder,
            rule="a run never starts over silently",
            fix="bring back a copy, or start over with --resume never or another experiment.name",
        )


def already_ended(
    progress: Progress, resume_point: Checkpoint | None, length: RunLength, config: ConfigWrapper
) -> str | None:
    """Why there is nothing left to do, if so: all steps are made, or a time budget that is no larger has ended it."""
    if progress.step >= length.total_steps:
        return length.reason
    if resume_point is not None and progress.ended == "time_budget":
        granted = resume_point.config["training"]["time_budget_hours"]
        hours = config.training.time_budget_hours
        if hours is not None and hours <= granted:
            return "time_budget"
    return None


def _refuse_lost_checkpoints(folder: Path, run: Path, events: tuple[str, ...]) -> None:
    """A run that has saved before must not begin anew because its checkpoints were moved or purged."""
    records = run / METRICS_FILE
    text = records.read_text(encoding="utf-8") if records.exists() else ""
    if any(f'"event": "{event}"' in text for event in events):
        raise CheckpointError(
            "the run has saved checkpoints, but none is here",
            where=folder,
            rule=f"{records} records them, and a run never starts over silently",
            fix="bring them back, set training.checkpoint_dir, or give another experiment.name",
        )
