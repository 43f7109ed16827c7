"""One model, one batch of made-up states, and our training step on them: what benchmarks measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from weather.benchmarks.bare import bare_step
from weather.config.wrapper import ConfigWrapper
from weather.data.year_file import default_latitude
from weather.errors import ConfigError
from weather.model.flops import model_cost
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.runtime.seeds import seed_step, seed_weights
from weather.strategies import find_strategy
from weather.strategies.base import Strategy
from weather.training.loss import weighted_mean_squared_error
from weather.training.monitor import Monitor, Requests
from weather.training.optimizer import build_optimizer
from weather.training.schedule import learning_rate
from weather.verification.metrics import area_weights

TOTAL_STEPS = 10**6  # of the schedule that the benchmark pretends to follow


class OurStep:
    """What the loop of the trainer does in a step, but for reading and normalising data."""

    def __init__(self, strategy: Strategy, states: torch.Tensor, loss: Callable[..., torch.Tensor]) -> None:
        self.strategy, self.states, self.loss = strategy, states, loss
        self.monitor = Monitor(strategy.device, strategy.data_size)
        # A process that works alone beside others must not wait for them.
        self.alone_among_ranks = dist.is_initialized() and dist.get_world_size() > strategy.ranks.world_size
        self.steps = 0

    def step(self) -> None:
        training = self.strategy.config.training
        seed_step(training.seed, self.steps, self.strategy.ranks.rank)
        with self.strategy.microbatch(is_last=True):
            error = self.loss(self.strategy.module(self.states))
            self.strategy.backward(error)
        rate = learning_rate(self.steps, TOTAL_STEPS, training)
        result = self.strategy.step(rate, training.gradient_clipping)
        self.steps += 1
        if not self.alone_among_ranks:
            self.monitor.record(self.steps, error.detach(), result, Requests())


class Workload:
    """The same model and the same input for every contestant.

    Args:
        config: without `auto` in the model's shape.
        device: of this rank.
        batch: samples a rank and step.

    Raises:
        ConfigError: the shape is not given.
    """

    def __init__(self, config: ConfigWrapper, device: Device, batch: int) -> None:
        self.config, self.device, self.batch = config, device, batch
        target, model = device.torch_device, config.model
        if model.img_size == "auto" or model.input_channels == "auto" or model.output_channels == "auto":
            raise ConfigError(
                "the benchmark has no archive to take model.img_size, input_channels and output_channels from",
                fix="give them, such as --set model.img_size=[64,128]",
            )
        rows, columns = model.img_size
        generator = torch.Generator().manual_seed(0)
        size = (batch, model.sequence_length, model.embedded_channels, rows, columns)
        self.states = torch.randn(size, generator=generator).to(target)
        truth = torch.randn((batch, model.output_channels, rows, columns), generator=generator).to(target)
        weights = torch.from_numpy(area_weights(default_latitude(rows))).float()[None, :, None].to(target)
        self.loss = lambda forecast: weighted_mean_squared_error(forecast, truth, weights)
        self.cost = model_cost(model)

    @property
    def facts(self) -> dict[str, Any]:
        """Of checkpoints of the model: those of a run that has read no samples."""
        return {"config": self.config.to_dict(), "samples": {}, "strategy": "single", "world_size": 1}

    def build_model(self) -> WeatherTransformer:
        dtype = self.device.autocast_dtype or torch.float32
        return WeatherTransformer(self.config.model, device_type=self.device.torch_device.type, compute_dtype=dtype)

    def our_step(self, name: str, ranks: Ranks) -> OurStep:
        """Our step of strategy `name`; with `Ranks()` one that does not know of other ranks, if there are."""
        config = self.config.replace(
            {
                "training.strategy": name,
                "training.batch_size": self.batch * ranks.world_size,
                "training.micro_batch_size": self.batch,
            }
        )
        strategy_class = find_strategy(name)
        if name != "single":
            strategy_class.validate(config, ranks, self.device)
        strategy = strategy_class(config, self.device, ranks)
        seed_weights(config.training.seed)
        strategy.setup(self.build_model, lambda model: build_optimizer(model, config.training))
        return OurStep(strategy, self.states, self.loss)

    def bare_step(self, name: str, ours: Strategy) -> Callable[[], None]:
        """The step of the same strategy written by hand."""
        model = self.build_model().to(self.device.torch_device)
        document = getattr(ours, "document", None)  # what our strategy has told DeepSpeed
        return bare_step(name, model, self.states, self.loss, self.device, document)
