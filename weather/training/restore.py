"""A trained model back from its run, to forecast with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive
from weather.errors import CheckpointError
from weather.model.transformer import WeatherTransformer
from weather.runtime.compiler import missing_compiler
from weather.runtime.device import Device
from weather.training.checkpoint import (
    Checkpoint,
    best_checkpoint,
    find_checkpoints,
    load_tensors,
    read_checkpoint,
)
from weather.training.checkpoint_reader import TensorReader
from weather.training.checkpoint_verify import verify
from weather.training.forecast_step import ForecastStep
from weather.training.learned import refuse_other_run
from weather.training.preparation import checkpoint_folder

NAMED_BY = "--checkpoint {}"  # how a command line names a checkpoint


@dataclass(frozen=True)
class Forecaster:
    """A model with the weights of a checkpoint (the moving average, where the run kept one), ready to forecast.

    Attributes:
        lead: steps that one forecast covers; None: `data.dt`.
    """

    config: ConfigWrapper
    checkpoint: Checkpoint
    model: WeatherTransformer
    step: ForecastStep
    device: Device
    lead: int | None = None

    def __call__(self, states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        """The next state [batch, channel, lat, lon] float32; see `ForecastStep`, all normalised."""
        leads = None if self.lead is None else np.full(len(states), self.lead)
        with torch.no_grad(), self.device.autocast():
            return self.step(self.model, states, time, leads=leads).float()


def choose_checkpoint(config: ConfigWrapper, wanted: str, *, named_by: str = NAMED_BY) -> Checkpoint:
    """`best` (see `best_checkpoint`), `last`, or the path of a checkpoint.

    Args:
        named_by: see `verified`.

    Raises:
        CheckpointError: there is none, or one that cannot be read may be the one that is wanted.
    """
    if wanted not in ("best", "last"):
        return read_checkpoint(Path(wanted))
    folder = checkpoint_folder(config)
    found = find_checkpoints(folder)
    if not found:
        raise CheckpointError("no complete checkpoint", where=folder, fix="train the run first")
    doubtful = found if wanted == "best" else found[-1:]
    for each in doubtful:
        if each.problem is not None:
            raise _named_instead(each.problem, wanted, named_by) from each.problem
    whole = [each.whole() for each in found if each.problem is None]
    return best_checkpoint(whole) or whole[-1] if wanted == "best" else whole[-1]


def verified(checkpoint: Checkpoint, wanted: str, *, named_by: str = NAMED_BY) -> Checkpoint:
    """The checkpoint, if its files are what was written. All ranks call it together.

    Args:
        wanted: as in `choose_checkpoint`.
        named_by: how a command line names another one, which an error advises.

    Raises:
        CheckpointError: they are not, or cannot be read; no other checkpoint is taken for it.
    """
    try:
        verify(checkpoint)
    except CheckpointError as problem:
        raise _named_instead(problem, wanted, named_by) from problem
    return checkpoint


def _named_instead(problem: CheckpointError, wanted: str, named_by: str) -> CheckpointError:
    other = f"{named_by.format('last')}, or " if wanted == "best" else ""
    error = CheckpointError(
        str(problem).rstrip("."),
        rule="no other checkpoint is taken for it silently",
        fix=f"name another one: {other}{named_by.format('PATH')}",
    )
    error.agreed = problem.agreed
    return error


def restore(config: ConfigWrapper, checkpoint: Checkpoint, archive: Archive, device: Device) -> Forecaster:
    """Build the model and load its weights; on a GPU it is compiled as it was in training, if there is a compiler.

    A machine that only evaluates need not have one, and a CPU would wait long for it.

    Args:
        archive: with the statistics that the model was trained with.

    Raises:
        CheckpointError: the checkpoint cannot be read or is of another model.
    """
    refuse_other_run(checkpoint, config)
    dtype = device.autocast_dtype or torch.float32
    model = WeatherTransformer(config.model, device_type=device.torch_device.type, compute_dtype=dtype)
    averaged = any(name.startswith("average.") for name in TensorReader(checkpoint.path).shapes())
    kind = "average" if averaged else "model"
    load_tensors(checkpoint.path, {f"{kind}.{name}": p.detach() for name, p in model.named_parameters()})
    if config.model.compile == "blocks" and device.torch_device.type == "cuda" and missing_compiler("cuda") is None:
        model.compile_blocks()
    step = ForecastStep(config, archive, device.torch_device)
    return Forecaster(config, checkpoint, model.to(device.torch_device).eval(), step, device)
