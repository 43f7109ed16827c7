"""The training loss by hand: cell area times channel weight, mean 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.training.stand_in import archive
from weather.config.schema import TrainingSection
from weather.errors import ConfigError
from weather.training.loss import loss_weights, weighted_mean_squared_error

ROWS = np.array([60.0, 0.0, -60.0])  # three bands that end at 30 degrees and at the poles
AREA = np.array([0.5, 1.0, 0.5])  # sin 90 - sin 30, 2 sin 30, sin 90 - sin 30


def weights(channels: int = 3, **settings: Any) -> torch.Tensor:
    return loss_weights(TrainingSection(**settings), archive(ROWS), channels)


def test_rows_count_by_their_area() -> None:
    expected = np.broadcast_to((AREA / AREA.mean())[:, None], (3, 3, 1))
    np.testing.assert_allclose(weights(), expected, rtol=1e-6)  # float32


def test_without_latitude_weights_all_points_are_equal() -> None:
    assert torch.equal(weights(latitude_weighted_loss=False), torch.ones(3, 3, 1))


def test_channels_count_by_their_weight() -> None:
    found = weights(channel_weights={"u10": 4.0}, latitude_weighted_loss=False)
    np.testing.assert_allclose(found[:, 0, 0], [0.5, 2.0, 0.5])
    both = weights(channel_weights={"u10": 4.0, "v10": 0.0})
    np.testing.assert_allclose(both[:, :, 0], np.array([[1.0], [4.0], [0.0]]) / (5 / 3) * AREA / AREA.mean(), rtol=1e-6)


@pytest.mark.parametrize("latitude", [True, False])
def test_weights_have_mean_one(latitude: bool) -> None:
    found = weights(latitude_weighted_loss=latitude, channel_weights={"t2m": 10.0, "v10": 0.1})
    assert found.mean().item() == pytest.approx(1.0, abs=1e-6)


def test_only_forecast_channels_have_weights() -> None:
    assert weights(channels=2).shape == (2, 3, 1)
    with pytest.raises(ConfigError, match="names 'v10'; forecast channels: t2m, u10"):
        weights(channels=2, channel_weights={"v10": 1.0})
    with pytest.raises(ConfigError, match="'q'"):
        weights(channel_weights={"q": 1.0})


def test_one_channel_must_count() -> None:
    with pytest.raises(ConfigError, match="all 0"):
        weights(channel_weights={"t2m": 0.0, "u10": 0.0, "v10": 0.0})


def test_loss_is_the_weighted_mean_of_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    forecast, target = torch.randn(2, 2, 3, 3, 8, generator=generator)
    found = weighted_mean_squared_error(forecast, target, weights(channel_weights={"u10": 3.0}))
    error = forecast.double().numpy() - target.double().numpy()
    weight = np.array([0.6, 1.8, 0.6])[None, :, None, None] * (AREA / AREA.mean())[None, None, :, None]
    assert found.item() == pytest.approx((weight * error**2).mean(), rel=1e-5)  # float32


def test_a_constant_error_costs_its_square_whatever_the_weights() -> None:
    target = torch.zeros(2, 3, 3, 8)
    for settings in ({}, {"latitude_weighted_loss": False}, {"channel_weights": {"t2m": 7.0}}):
        loss = weighted_mean_squared_error(target + 3.0, target, weights(**settings))
        assert loss.item() == pytest.approx(9.0, rel=1e-5)


def test_a_forecast_in_half_precision_is_judged_in_float32() -> None:
    # 300 squared is 90,000, more than float16 holds.
    loss = weighted_mean_squared_error(torch.full((1, 3, 3, 8), 300.0).half(), torch.zeros(1, 3, 3, 8), weights())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(90_000.0, rel=1e-5)
