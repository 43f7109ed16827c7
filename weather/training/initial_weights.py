"""A run that begins with the weights of another one, at step 0: `training.initial_weights`."""

from __future__ import annotations

from pathlib import Path

from weather.errors import CheckpointError
from weather.runtime.collectives import on_first_rank
from weather.strategies.base import Strategy
from weather.training.checkpoint import Checkpoint, load_tensors, read_checkpoint
from weather.training.checkpoint_reader import TensorReader
from weather.training.checkpoint_verify import verify
from weather.training.preparation import Prepared, changed_identity, changed_samples

#: Of `Prepared.identity`: what weights have learned to read. Another archive may have other samples of it.
READ = ("channels", "time step in hours", "means", "standard deviations")


def load_initial_weights(path: Path, strategy: Strategy, prepared: Prepared) -> None:
    """Take over the weights of a checkpoint, their moving average where it has one; moments start anew.

    All ranks call it together.

    Raises:
        CheckpointError: it is none, is damaged, or its weights are of another model or of other variables.
    """
    checkpoint = on_first_rank(lambda: read_checkpoint(path))
    verify(checkpoint)
    _refuse_others(checkpoint, prepared)
    kind = "average" if any(n.startswith("average.") for n in TensorReader(path).shapes()) else "model"
    whole = strategy.gather(strategy.weights())
    load_tensors(path, {f"{kind}.{name}": tensor for name, tensor in whole.items()})
    strategy.scatter(whole, strategy.weights())
    strategy.publish()


def _refuse_others(checkpoint: Checkpoint, prepared: Prepared) -> None:
    """Refuse weights of another model, or such that know other variables or units.

    Raises:
        CheckpointError: naming the first difference.
    """
    keys = changed_identity(checkpoint.config, prepared.config).items()
    read = {f"the archive's {name}" for name in READ}
    changed = {key: values for key, values in keys if key.startswith("model.") or key == "data.extra_inputs"}
    changed |= {key: values for key, values in changed_samples(checkpoint.samples, prepared).items() if key in read}
    if not changed:
        return
    key, (before, now) = next(iter(changed.items()))
    error = CheckpointError(
        f"{key} was {before!r} and is now {now!r}",
        where=f"training.initial_weights = {checkpoint.path}",
        rule="weights go on with the model, the channels, the extra inputs, the time step and the normalisation that "
        "they were trained with",
        fix="restore the value, or leave training.initial_weights out",
    )
    error.agreed = True
    raise error
