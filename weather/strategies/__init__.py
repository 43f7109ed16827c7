"""Parallel strategies by name."""

from __future__ import annotations

import difflib

from weather.errors import ConfigError
from weather.strategies.base import Strategy
from weather.strategies.ddp import DistributedDataParallel
from weather.strategies.single import SingleProcess

STRATEGIES: dict[str, type[Strategy]] = {"single": SingleProcess, "ddp": DistributedDataParallel}


def find_strategy(name: str) -> type[Strategy]:
    """The strategy called `name`.

    Raises:
        ConfigError: there is none; lists the known ones.
    """
    if name not in STRATEGIES:
        near = difflib.get_close_matches(name, STRATEGIES, n=1)
        raise ConfigError(
            f"unknown strategy '{name}'",
            where="training.strategy",
            rule=f"known: {', '.join(STRATEGIES)}",
            fix=f"did you mean '{near[0]}'?" if near else "",
        )
    return STRATEGIES[name]
