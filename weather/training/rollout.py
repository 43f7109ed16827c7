"""The loss of several forecasts in a row, each from the one before, as training and validation take it.

Gradients go back through all forecasts (back-propagation through time), so that the model is trained on the states
that it makes itself, as GraphCast (Lam et al. 2023) and Stormer (Nguyen et al. 2023) are fine-tuned.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from weather.training.forecast_step import ForecastStep
from weather.training.loss import weighted_mean_squared_error


def roll_out(
    forecast_step: ForecastStep,
    module: nn.Module,
    fields: torch.Tensor,
    time: np.ndarray | None,
    weights: torch.Tensor,
    *,
    leads: np.ndarray | None = None,
    recompute: bool = False,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Forecast and target [batch, output channel, lat, lon], and loss, a scalar, of each forecast in a row.

    Args:
        fields: [batch, sequence length + forecasts, channel, lat, lon] normalised: inputs, then targets.
        time: [batch, sequence length + forecasts] datetime64[s] of these states; None: unknown.
        weights: of the loss, [output channels, lat, 1].
        leads: [batch] steps that one forecast of each sample covers; None: `data.dt`.
        recompute: keep the states only, and run each forecast a second time in the backward pass.
    """
    config, count = forecast_step.config, len(fields)
    length, channels = config.model.sequence_length, int(config.model.output_channels)
    states, targets = fields[:, :length], fields[:, length:, :channels]
    scale = forecast_step.leads.error_scale(count, leads)
    for number, target in enumerate(targets.unbind(1), start=1):
        newest = None if time is None else time[:, number - 1 : number - 1 + length]
        forecast = forecast_step(module, states, newest, leads=leads, recompute=recompute)
        forecast_in_unit, target_in_unit = (forecast, target) if scale is None else (forecast / scale, target / scale)
        yield forecast, target, weighted_mean_squared_error(forecast_in_unit, target_in_unit, weights)
        if number < targets.shape[1]:
            states = torch.cat([states[:, 1:], forecast[:, None]], dim=1)
