"""Puts a prepared run together: model, optimizer, average, loaders; from the start or from a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from weather.data.loader import Batch, BatchLoader, Normalizer
from weather.model.transformer import WeatherTransformer
from weather.runtime.seeds import seed_weights
from weather.strategies.base import Strategy
from weather.strategies.batches import BatchPlan
from weather.strategies.inspection import check_state
from weather.training.checkpoint import Checkpoint, load_tensors
from weather.training.checkpoint_reader import TensorReader
from weather.training.forecast_step import ForecastStep
from weather.training.initial_weights import load_initial_weights
from weather.training.loss import loss_weights
from weather.training.optimizer import WeightAverage, build_optimizer
from weather.training.preparation import Prepared
from weather.training.validation import Validator


@dataclass(frozen=True)
class Assembly:
    """The parts that the loop works with.

    Attributes:
        prepared: what it was put together from.
        plan: how the global batch is split.
        average: moving average of the weights, if the config asks for one.
        forecast_step: how the model is called.
        weights: of the loss, [output channels, lat, 1].
        loader: of this rank's training micro-batches.
    """

    prepared: Prepared
    strategy: Strategy
    plan: BatchPlan
    average: WeightAverage | None
    forecast_step: ForecastStep
    normalizer: Normalizer
    weights: torch.Tensor
    loader: BatchLoader
    validator: Validator

    def batches(self, first_step: int) -> Iterator[Batch]:
        """This rank's micro-batches, from a step (from 0) to the end of the run."""
        rank, size = self.strategy.data_rank, self.strategy.data_size
        order = self.prepared.order(first_step, rank=rank, world_size=size, micro_batch_size=self.plan.micro_batch)
        return self.loader.batches(order)

    def state(self) -> dict[str, torch.Tensor]:
        """All tensors of a checkpoint by canonical name, live."""
        return _state(self.strategy, self.average)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the model has the averaged weights, if there are."""
        if self.average is None:
            yield
            return
        self.average.swap()
        self.strategy.publish()
        try:
            yield
        finally:
            self.average.swap()
            self.strategy.publish()

    def close(self) -> None:
        self.loader.close()
        self.validator.close()
        self.strategy.close()


def assemble(prepared: Prepared, strategy: Strategy, resume_point: Checkpoint | None) -> Assembly:
    """Build everything that takes memory.

    Raises:
        CheckpointError: the checkpoint to resume from cannot be read or is of another model.
        TrainingError: what was read from it does not fit together, or is not finite.
    """
    config, device = prepared.config, strategy.device.torch_device
    dtype = strategy.device.autocast_dtype or torch.float32
    seed_weights(config.training.seed)
    strategy.setup(
        lambda: WeatherTransformer(config.model, device_type=device.type, compute_dtype=dtype),
        lambda model: build_optimizer(model, config.training),
    )
    decay = config.training.ema_decay
    if resume_point is None and config.training.initial_weights is not None:
        load_initial_weights(Path(config.training.initial_weights), strategy, prepared)
    average = WeightAverage(strategy.weights(), decay) if decay > 0 else None
    if resume_point is not None:
        average = _load(resume_point, strategy, average, decay)
    plan = strategy.batches
    normalizer = Normalizer(prepared.archive.statistics, device)
    weights = loss_weights(config.training, prepared.archive, int(config.model.output_channels)).to(device)
    loader = BatchLoader(
        prepared.training,
        prepared.archive.channel_indices,
        batch_size=plan.micro_batch,
        device=device,
        threads=config.data.num_workers,
        forecasts=prepared.length.rollout.longest,
    )
    forecast_step = ForecastStep(config, prepared.archive, device)
    validator = Validator(prepared, strategy, forecast_step, normalizer, weights, plan.micro_batch)
    return Assembly(prepared, strategy, plan, average, forecast_step, normalizer, weights, loader, validator)


def _load(
    checkpoint: Checkpoint, strategy: Strategy, average: WeightAverage | None, decay: float
) -> WeightAverage | None:
    """Take over a checkpoint; loss scaling or an average that it does not have start anew."""
    state = _state(strategy, average)
    saved = TensorReader(checkpoint.path).shapes()
    load_tensors(
        checkpoint.path, {k: v for k, v in state.items() if k in saved or not k.startswith(("scaler.", "average."))}
    )
    strategy.load_state_dict(state)
    check_state(strategy)
    if average is None:
        return None
    if not any(name.startswith("average.") for name in saved):
        return WeightAverage(strategy.weights(), decay)
    averaged = {k.removeprefix("average."): v for k, v in state.items() if k.startswith("average.")}
    strategy.scatter(averaged, average.average)
    return average


def _state(strategy: Strategy, average: WeightAverage | None) -> dict[str, torch.Tensor]:
    state = strategy.state_dict()
    if average is not None:
        state |= {f"average.{name}": tensor for name, tensor in strategy.gather(average.average).items()}
    return state
