"""The training loss: mean squared error of standard scores, weighed by cell area and channel."""

from __future__ import annotations

import torch

from weather.config.schema import TrainingSection
from weather.data.archive import Archive
from weather.errors import ConfigError
from weather.verification.metrics import area_weights


def loss_weights(section: TrainingSection, archive: Archive, output_channels: int) -> torch.Tensor:
    """Weights [output channels, lat, 1] with mean 1: cell area (Rasp et al. 2020) times channel weight.

    Raises:
        ConfigError: `training.channel_weights` names a channel that is not forecast, or all weights are 0.
    """
    rows, _ = archive.grid
    weights = torch.ones(output_channels, rows, 1)
    if section.latitude_weighted_loss:
        weights *= torch.from_numpy(area_weights(archive.latitude)).float()[:, None]
    channels = archive.channels[:output_channels]
    for name, weight in (section.channel_weights or {}).items():
        if name not in channels:
            raise ConfigError(
                f"training.channel_weights names '{name}'", rule=f"forecast channels: {', '.join(channels)}"
            )
        weights[channels.index(name)] *= weight
    if not weights.any():
        raise ConfigError("training.channel_weights are all 0", rule="one channel must count")
    return weights / weights.mean()


def weighted_mean_squared_error(forecast: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Scalar mean over [batch, channel, lat, lon] of weights * (forecast - target)^2, in float32."""
    return ((forecast.float() - target).square() * weights).mean()
