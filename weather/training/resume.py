"""Where a start of a run begins: at a checkpoint, or at step 0, and never silently over earlier work."""

from __future__ import annotations

from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.runtime.run_folder import METRICS_FILE
from weather.training.budget import RunLength
from weather.training.checkpoint import Checkpoint, Progress, complete_checkpoints, read_checkpoint
from weather.training.preparation import Prepared, changed_identity, changed_samples


def find_resume_point(folder: Path, run: Path, resume: str, prepared: Prepared) -> Checkpoint | None:
    """The checkpoint to go on from; None starts at step 0.

    Args:
        folder: the run's checkpoints.
        run: the run's folder, whose records tell whether there were any.
        resume: auto | never | path of a checkpoint.

    Raises:
        CheckpointError: `never`, but there are checkpoints that would be mixed up or lost; a path that is no
            checkpoint; a config or an archive under which the checkpoint's step or weights would mean something else;
            records of checkpoints that are not there.
    """
    existing = complete_checkpoints(folder)
    if resume == "never":
        if existing:
            raise CheckpointError(
                f"--resume never, but the run has {len(existing)} checkpoint(s), the newest at step "
                f"{existing[-1].progress.step}",
                where=folder,
                rule="a run is never started over on top of its checkpoints",
                fix="give another experiment.name, or move the folder away",
            )
        return None
    elsewhere = resume != "auto" and Path(resume).resolve().parent != folder.resolve()
    if elsewhere and existing:
        chosen = existing[-1]  # the run has begun from that checkpoint and has come further since
    elif resume != "auto":
        chosen = read_checkpoint(Path(resume))
        newer = [c.path.name for c in existing if c.progress.step > chosen.progress.step]
        if newer:
            raise CheckpointError(
                f"the run already has newer checkpoints ({', '.join(newer)})",
                where=folder,
                rule="the next automatic resume would take them",
                fix="give another experiment.name, or move them away",
            )
    elif existing:
        chosen = existing[-1]
    else:
        _refuse_lost_checkpoints(folder, run)
        return None
    changed = changed_identity(chosen.config, prepared.config) | changed_samples(chosen.samples, prepared)
    if changed:
        key, (before, now) = next(iter(changed.items()))
        raise CheckpointError(
            f"{key} was {before!r} and is now {now!r}",
            where=chosen.path,
            rule="model, samples, batch and seed stay the same over a run",
            fix="restore the value, or give another experiment.name",
        )
    return chosen


def already_ended(
    progress: Progress, resume_point: Checkpoint | None, length: RunLength, config: ConfigWrapper
) -> str | None:
    """Why there is nothing left to do, if so: all steps are made, or the same time budget has ended the run before."""
    if progress.step >= length.total_steps:
        return length.reason
    if resume_point is not None and progress.ended == "time_budget":
        granted = resume_point.config["training"]["time_budget_hours"]
        if config.training.time_budget_hours == granted:
            return "time_budget"
    return None


def _refuse_lost_checkpoints(folder: Path, run: Path) -> None:
    """A run that has saved before must not begin anew because its checkpoints were moved or purged."""
    records = run / METRICS_FILE
    if records.exists() and '"event": "checkpoint"' in records.read_text(encoding="utf-8"):
        raise CheckpointError(
            "the run has saved checkpoints, but none is here",
            where=folder,
            rule=f"{records} records them, and a run never starts over silently",
            fix="bring them back, set training.checkpoint_dir, or give another experiment.name",
        )
