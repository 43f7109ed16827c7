"""Parallel strategies by name."""

from __future__ import annotations

from weather.errors import ConfigError, did_you_mean
from weather.strategies.base import Strategy
from weather.strategies.ddp import DistributedDataParallel
from weather.strategies.fsdp import FullyShardedDataParallel
from weather.strategies.single import SingleProcess
from weather.strategies.zero import DeepSpeed

STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (SingleProcess, DistributedDataParallel, FullyShardedDataParallel, DeepSpeed)
}


def find_strategy(name: str) -> type[Strategy]:
    """The strategy called `name`.

    Raises:
        ConfigError: there is none; lists the known ones.
    """
    if name not in STRATEGIES:
        raise ConfigError(
            f"unknown strategy '{name}'",
            where="training.strategy",
            rule=f"known: {', '.join(STRATEGIES)}",
            fix=did_you_mean(name, STRATEGIES),
        )
    return STRATEGIES[name]
