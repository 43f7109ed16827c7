"""Where a start of a run begins: at a checkpoint, or at step 0, and never silently over earlier work."""

from __future__ import annotations

from pathlib import Path

from weather.config.wrapper import ConfigWrapper
from weather.errors import CheckpointError
from weather.training.checkpoint import Checkpoint, complete_checkpoints, read_checkpoint
from weather.training.preparation import changed_identity


def find_resume_point(folder: Path, resume: str, config: ConfigWrapper) -> Checkpoint | None:
    """The checkpoint to go on from; None starts at step 0.

    Args:
        folder: the run's checkpoints.
        resume: auto | never | path of a checkpoint.

    Raises:
        CheckpointError: `never`, but there are checkpoints that would be mixed up or lost; a path that is no
            checkpoint; a config under which the checkpoint's step or weights would mean something else.
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
    if resume != "auto":
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
        return None
    changed = changed_identity(chosen.config, config)
    if changed:
        key, (before, now) = next(iter(changed.items()))
        raise CheckpointError(
            f"{key} was {before!r} and is now {now!r}",
            where=chosen.path,
            rule="model, samples, batch and seed stay the same over a run",
            fix="restore the value, or give another experiment.name",
        )
    return chosen
