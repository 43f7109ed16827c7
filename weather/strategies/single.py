"""One process, one device."""

from __future__ import annotations

from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.errors import ConfigError
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.base import Strategy


class SingleProcess(Strategy):
    """The reference that the other strategies are compared with."""

    name = "single"
    parallel = False

    @classmethod
    def validate(cls, config: ConfigWrapper, ranks: Ranks, device: Device) -> None:
        if ranks.world_size > 1:
            raise ConfigError(
                f"strategy 'single' with {ranks.world_size} ranks",
                where="training.strategy",
                rule="it serves one process",
                fix="--strategy ddp, fsdp or deepspeed",
            )
        super().validate(config, ranks, device)

    def wrap(self, model: nn.Module) -> nn.Module:
        return model

    @property
    def model(self) -> nn.Module:
        return self.module
