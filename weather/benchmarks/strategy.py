"""What a parallel strategy costs: our step beside one written by hand, and many ranks beside one."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from weather.benchmarks.bare import bare_step
from weather.benchmarks.timing import share, take_turns
from weather.config.wrapper import ConfigWrapper
from weather.data.year_file import default_latitude
from weather.errors import ConfigError
from weather.model.flops import model_cost
from weather.model.transformer import WeatherTransformer
from weather.runtime.collectives import start_process_group
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks, find_ranks
from weather.runtime.seeds import seed_step, seed_weights
from weather.strategies import find_strategy
from weather.strategies.base import Strategy
from weather.training.loss import weighted_mean_squared_error
from weather.training.monitor import Monitor, Requests
from weather.training.optimizer import build_optimizer
from weather.training.schedule import learning_rate
from weather.verification.metrics import area_weights

TOTAL_STEPS = 10**6  # of the schedule that the benchmark pretends to follow


def measure_strategies(
    config: ConfigWrapper, names: list[str], *, device: str, batch: int, rounds: int, steps: int
) -> dict[str, Any]:
    """Rates of the strategies on the ranks that a launcher started; all ranks call it.

    Args:
        batch: samples a rank and step.
        rounds: turns that each contestant has.
        steps: optimizer steps of a turn.

    Returns:
        For each strategy the share of our step in the rate of one written by hand (1 is as fast), and the efficiency
        per rank: against as many single processes that work side by side without talking, and against one that has
        the machine to itself (what then is lost includes shared memory and clock rates).
    """
    if "auto" in (config.model.img_size, config.model.input_channels, config.model.output_channels):
        raise ConfigError(
            "the benchmark has no archive to take model.img_size, input_channels and output_channels from",
            fix="give them, such as --set model.img_size=[64,128]",
        )
    ranks = find_ranks()
    chosen = choose_device(device, config.training.precision, ranks)
    start_process_group(ranks, chosen.backend, config.training.collective_timeout_minutes, chosen.torch_device)
    return {
        "config": str(config.experiment.name),
        "device": chosen.name,
        "precision": chosen.precision,
        "ranks": ranks.world_size,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "strategies": {name: _measure(name, config, chosen, ranks, batch, rounds, steps) for name in names},
    }


def _measure(
    name: str, config: ConfigWrapper, device: Device, ranks: Ranks, batch: int, rounds: int, steps: int
) -> dict[str, Any]:
    workload = _Workload(config, device, batch)
    ours = workload.our_step(name, ranks)
    bare = workload.bare_step(name, ours.strategy)
    alone = workload.our_step("single", Ranks()).step

    def repeat(step: Callable[[], None], *, everyone: bool = True) -> Callable[[], float]:
        def turn() -> float:
            if everyone or ranks.first:
                for _ in range(steps):
                    step()
            return steps * batch

        return turn

    contestants = {
        "ours": repeat(ours.step),
        "bare": repeat(bare),
        "side by side": repeat(alone),
        "alone": repeat(alone, everyone=False),
    }
    rates = take_turns(contestants, rounds, device.torch_device, together=ranks.world_size > 1)
    ours.strategy.close()
    return {
        "samples_per_second_of_a_rank": statistics.median(rates["ours"]),
        "ours_over_bare": share(rates, "ours", "bare"),
        "efficiency_beside_independent_processes": share(rates, "ours", "side by side"),
        "efficiency_beside_one_process_alone": share(rates, "ours", "alone"),
    }


class _OurStep:
    """What the loop of the trainer does in a step, but for reading and normalising data."""

    def __init__(self, strategy: Strategy, states: torch.Tensor, loss: Callable[..., torch.Tensor]) -> None:
        self.strategy, self.states, self.loss = strategy, states, loss
        self.monitor = Monitor(strategy.device, strategy.data_size)
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
        if self.strategy.ranks.world_size == dist_size():
            self.monitor.record(self.steps, error.detach(), result, Requests())


class _Workload:
    """The same model and the same input for every contestant."""

    def __init__(self, config: ConfigWrapper, device: Device, batch: int) -> None:
        self.config, self.device, self.batch = config, device, batch
        target, model = device.torch_device, config.model
        assert model.img_size != "auto" and model.input_channels != "auto" and model.output_channels != "auto"
        rows, columns = model.img_size
        generator = torch.Generator().manual_seed(0)
        size = (batch, model.sequence_length, model.input_channels, rows, columns)
        self.states = torch.randn(size, generator=generator).to(target)
        truth = torch.randn((batch, model.output_channels, rows, columns), generator=generator).to(target)
        weights = torch.from_numpy(area_weights(default_latitude(rows))).float()[None, :, None].to(target)
        self.loss = lambda forecast: weighted_mean_squared_error(forecast, truth, weights)
        self.flops = model_cost(model).train_flops

    def build_model(self) -> WeatherTransformer:
        dtype = self.device.autocast_dtype or torch.float32
        return WeatherTransformer(self.config.model, device_type=self.device.torch_device.type, compute_dtype=dtype)

    def our_step(self, name: str, ranks: Ranks) -> _OurStep:
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
        return _OurStep(strategy, self.states, self.loss)

    def bare_step(self, name: str, ours: Strategy) -> Callable[[], None]:
        model = self.build_model().to(self.device.torch_device)
        return bare_step(name, model, self.states, self.loss, self.device, getattr(ours, "settings", None))


def dist_size() -> int:
    """Ranks of the process group; 1 without one."""
    return dist.get_world_size() if dist.is_initialized() else 1
