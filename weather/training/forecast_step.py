"""One forecast of the model from normalised states: the one place that knows what the model takes beside them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive


class ForecastStep:
    """Calls the model as training, validation and forecasts do alike.

    Args:
        config: of the run, without `auto`.
        archive: that the states are of.
        device: where they are.
    """

    def __init__(self, config: ConfigWrapper, archive: Archive, device: torch.device) -> None:
        self.config, self.archive, self.device = config, archive, device

    def __call__(self, module: nn.Module, states: torch.Tensor, time: np.ndarray | None) -> torch.Tensor:
        """The normalised state `data.dt` steps after the last of some.

        Args:
            module: the model, as a strategy may have wrapped it.
            states: [batch, time, channel, lat, lon] normalised, oldest first.
            time: [batch, time] datetime64[s] of these states; None: the archive has no time stamps.

        Returns:
            [batch, output channel, lat, lon] normalised.
        """
        forecast: torch.Tensor = module(states)
        return forecast
