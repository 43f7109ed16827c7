"""Why a run broke: bad data, a training that diverged, a rank that was lost, too little memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from weather.data.loader import check_finite
from weather.errors import LaunchError, TrainingError
from weather.runtime.ranks import rank_was_lost
from weather.training.checkpoint import complete_checkpoints
from weather.training.monitor import Reading
from weather.training.preparation import Prepared

LONGEST_SKIP = 50  # steps; loss scaling finds its scale within 16, for each skip halves it


def explain_nonfinite(reading: Reading, prepared: Prepared, batch: np.ndarray, checkpoints: Path) -> None:
    """Find out why a step was not finite, and raise it.

    Args:
        batch: [batch size] sample positions of the step.

    Raises:
        DataError: a state of the batch holds a value that is not finite.
        TrainingError: the data are finite, so it is the training that diverged.
    """
    samples = prepared.training
    states = np.unique(np.concatenate([samples.states(int(position)) for position in batch]))
    check_finite(prepared.archive, samples.split, states.tolist())
    saved = complete_checkpoints(checkpoints)
    first_states = ", ".join(samples.split.describe(int(samples.starts[position])) for position in batch[:4])
    checkpoint = f"last good checkpoint: {saved[-1].path}" if saved else "there is no checkpoint yet"
    raise TrainingError(
        f"the training diverged: loss {reading.loss}, gradient norm {reading.grad_norm} at step {reading.step}",
        rule=f"the data are finite; {checkpoint}",
        fix="lower training.learning_rate, lengthen warmup_steps, or set model.qk_norm; "
        f"the samples of the batch begin at {first_states}" + (" and others" if len(batch) > 4 else ""),
    )


def refuse_endless_skips(skipped: int, step: int) -> None:
    """Loss scaling skips a step that overflows; one that never stops overflowing is no scaling problem.

    Raises:
        TrainingError: more than `LONGEST_SKIP` steps in a row were skipped.
    """
    if skipped > LONGEST_SKIP:
        raise TrainingError(
            f"{skipped} steps in a row were skipped up to step {step}",
            rule="fp16 gradients overflow at every loss scale, so the gradient itself is not finite",
            fix="use bf16 or fp32, or lower training.learning_rate",
        )


def readable_failure(error: Exception, step: int) -> Exception:
    """The failure in a user's words where it is a common one, else the failure itself."""
    if isinstance(error, torch.OutOfMemoryError):
        return TrainingError(
            f"the device ran out of memory after step {step} ({' '.join(str(error).split())[:200]})",
            fix="set training.micro_batch_size lower (the result is the same) or model.activation_checkpointing=full",
        )
    if rank_was_lost(error):
        text = " ".join(str(error).split())
        return LaunchError(
            f"another rank failed or was lost after step {step} ({text[:200]})",
            fix="its own message says why; start the same command again to go on from the newest checkpoint",
        )
    return error
