"""A run that begins with the weights of another one, at step 0: `training.initial_weights`."""

from __future__ import annotations

from pathlib import Path

from weather.runtime.collectives import on_first_rank
from weather.strategies.base import Strategy
from weather.training.checkpoint import load_tensors, read_checkpoint
from weather.training.checkpoint_reader import TensorReader
from weather.training.checkpoint_verify import verify
from weather.training.learned import refuse_as_initial_weights
from weather.training.preparation import Prepared


def load_initial_weights(path: Path, strategy: Strategy, prepared: Prepared) -> None:
    """Take over the weights of a checkpoint, their moving average where it has one; moments start anew.

    All ranks call it together.

    Raises:
        CheckpointError: it is none, is damaged, or its weights are of another model or of other variables.
    """
    checkpoint = on_first_rank(lambda: read_checkpoint(path))
    verify(checkpoint)
    refuse_as_initial_weights(checkpoint, prepared)
    kind = "average" if any(n.startswith("average.") for n in TensorReader(path).shapes()) else "model"
    whole = strategy.gather(strategy.weights())
    load_tensors(path, {f"{kind}.{name}": tensor for name, tensor in whole.items()})
    strategy.scatter(whole, strategy.weights())
    strategy.publish()
