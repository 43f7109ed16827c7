"""What a parallel strategy costs: our step beside one written by hand, and many ranks beside one."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch

from weather.benchmarks.timing import share, take_turns
from weather.benchmarks.workload import Workload
from weather.config.wrapper import ConfigWrapper
from weather.runtime.collectives import start_process_group
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks, find_ranks


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
    workload = Workload(config, device, batch)
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
