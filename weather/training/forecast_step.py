"""One forecast of the model from normalised states: the one place that knows what the model takes beside them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.data.archive import Archive
from weather.data.extra_inputs import ExtraInputs
from weather.training.leads import Leads


class ForecastStep:
    """Calls the model as training, validation and forecasts do alike.

    Args:
        config: of the run, without `auto`.
        archive: that the states are of, with the statistics that the model was trained with.
        device: where they are.
    """

    def __init__(self, config: ConfigWrapper, archive: Archive, device: torch.device) -> None:
        self.config, self.archive, self.device = config, archive, device
        names, static = config.data.extra_inputs, archive.static_inputs
        self.extra_inputs = ExtraInputs(names, static, archive.latitude, archive.longitude, device)
        self.leads = Leads(config, archive, device)

    def __call__(
        self,
        module: nn.Module,
        states: torch.Tensor,
        time: np.ndarray | None,
        *,
        leads: np.ndarray | None = None,
        recompute: bool = False,
    ) -> torch.Tensor:
        """The normalised state that comes after the last of some.

        Args:
            module: the model, as a strategy may have wrapped it.
            states: [batch, time, channel, lat, lon] normalised, oldest first.
            time: [batch, time] datetime64[s] of these states; None: the archive has no time stamps.
            leads: [batch] steps that the forecast of each covers; None: `data.dt`.
            recompute: keep the states only, and run the forecast a second time in the backward pass.

        Returns:
            [batch, output channel, lat, lon] normalised.
        """
        inputs = self.leads.inputs(len(states), leads)
        forecast: torch.Tensor = module(self.extra_inputs.append(states, time), inputs, recompute)
        scale = self.leads.error_scale(len(states), leads)
        return forecast if scale is None else states[:, -1, : forecast.shape[1]] + scale * forecast
