"""Forecasts in a row without truth: a model goes on from its own output for as long as it is asked to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

#: Normalised past states [batch, time, channel, lat, lon] and their times [batch, time] (None: unknown) to the
#: normalised next state [batch, channel, lat, lon].
Forecast = Callable[[torch.Tensor, "np.ndarray | None"], torch.Tensor]


@torch.no_grad()
def forecasts_in_a_row(
    forecast: Forecast,
    states: torch.Tensor,
    time: np.ndarray | None,
    *,
    steps: int,
    reached: Callable[[int], np.ndarray],
) -> Iterator[torch.Tensor]:
    """The normalised states [batch, output channel, lat, lon] float32 after 1, 2, ... `steps` forecasts.

    The next forecast is made when the next state is asked for; only the newest states are kept.

    Args:
        forecast: the model.
        states: [batch, time, channel, lat, lon] normalised, oldest first; for a second forecast all of their channels
            must be forecast.
        time: [batch, time] datetime64[s] of the states, or None.
        reached: times [batch] of the states that come after so many forecasts; not asked where `time` is None.
    """
    for step in range(1, steps + 1):
        scores = forecast(states, time).float()
        yield scores
        if step < steps:
            states = torch.cat([states[:, 1:], scores[:, None]], dim=1)
            if time is not None:
                time = np.concatenate([time[:, 1:], reached(step)[:, None]], axis=1)
