"""Timing that a noisy machine does not spoil: contestants take turns, and each round is compared with itself."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist

from weather.runtime.device import wait_for


def take_turns(
    contestants: Mapping[str, Callable[[], float]], rounds: int, device: torch.device, *, together: bool = False
) -> dict[str, list[float]]:
    """Rates of each contestant in each round.

    Args:
        contestants: each does its work once and gives the amount of it (FLOPs or bytes).
        rounds: how often each has its turn, after one that does not count.
        together: all ranks begin and end each turn together.

    Returns:
        Amount per second, [rounds] for each contestant.
    """
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, work in contestants.items():
            wait_for(device)
            if together:
                dist.barrier()
            began = time.perf_counter()
            amount = work()
            wait_for(device)
            if together:
                dist.barrier()
            if turn:
                rates[name].append(amount / (time.perf_counter() - began))
    return rates


def share(rates: Mapping[str, list[float]], of: str, to: str) -> float:
    """Median over the rounds of one contestant's rate over another's."""
    return statistics.median(a / b for a, b in zip(rates[of], rates[to], strict=True))
