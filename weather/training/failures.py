"""Why a run broke: bad data, a training that diverged, a rank that was lost, too little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from weather.data.loader import Wanted, check_finite
from weather.errors import LaunchError, TrainingError
from weather.runtime.collectives import rank_was_lost
from weather.training.checkpoint import complete_checkpoints
from weather.training.monitor import Reading
from weather.training.preparation import Prepared

NAMED = 4  # samples of a batch that a message names


def explain_nonfinite(reading: Reading, prepared: Prepared, batch: Wanted, checkpoints: Path) -> None:
    """Find out why a step was not finite, and raise it.

    Args:
        batch: the samples of the step.

    Raises:
        DataError: a state of the batch holds a value that is not finite.
        TrainingError: the data are finite, so it is the training that diverged.
    """
    refuse_nonfinite_data(prepared, batch)
    saved = complete_checkpoints(checkpoints)
    checkpoint = f"last good checkpoint: {saved[-1].path}" if saved else "there is no checkpoint yet"
    raise TrainingError(
        f"the training diverged: loss {reading.loss}, gradient norm {reading.grad_norm} at step {reading.step}",
        rule=f"the data are finite; {checkpoint}",
        fix="lower training.learning_rate, lengthen warmup_steps, set model.qk_norm, or leave such steps out with "
        f"training.on_nonfinite=skip; {describe_batch(prepared, batch.positions)}",
    )


def refuse_nonfinite_data(prepared: Prepared, batch: Wanted) -> None:
    """See whether a batch holds values that are not finite.

    Raises:
        DataError: names the first.
    """
    samples = prepared.training
    check_finite(prepared.archive, samples.split, samples.wanted_states(batch).tolist())


def describe_batch(prepared: Prepared, batch: np.ndarray) -> str:
    """Which samples a batch is made of: position in the split, file and time index of each."""
    samples = prepared.training
    named = [f"{position} ({samples.split.describe(int(samples.starts[position]))})" for position in batch[:NAMED]]
    others = f" and {len(batch) - NAMED} others" if len(batch) > NAMED else ""
    return f"the batch has the samples {', '.join(named)}{others}"


def readable_failure(error: Exception, step: int, memory_snapshot: Path | None = None) -> Exception:
    """The failure in a user's words where it is a common one, else the failure itself.

    Args:
        memory_snapshot: file that tells what filled the memory, if that ran out and a profile was taken.
    """
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(
            f"the device ran out of memory after step {step} ({' '.join(str(error).split())[:200]})",
            rule=f"{memory_snapshot} tells what filled it (pytorch.org/memory_viz)" if memory_snapshot else "",
            fix="set training.micro_batch_size lower (the result is the same) or model.activation_checkpointing=full"
            + ("" if memory_snapshot else "; on a GPU profile.enabled=true keeps a record of what fills it"),
        )
    if rank_was_lost(error):
        text = " ".join(str(error).split())
        return LaunchError(
            f"another rank failed or was lost after step {step} ({text[:200]})",
            fix="its own message says why; start the same command again to go on from the newest checkpoint",
        )
    return error
