"""Scores against their definitions in float64 NumPy, and weights against the sphere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weather.verification.metrics import ErrorSums, area_weights


def sine(degrees: float) -> float:
    return float(np.sin(np.deg2rad(degrees)))


# --- area weights ---


@pytest.mark.parametrize("rows", [2, 3, 48, 180, 720])
def test_equal_cells_from_pole_to_pole_weigh_as_the_cosine(rows: int) -> None:
    latitude = 90 - (np.arange(rows) + 0.5) * 180 / rows
    cosine = np.cos(np.deg2rad(latitude))
    # sin(a + d) - sin(a - d) = 2 cos(a) sin(d): exact but for rounding.
    np.testing.assert_allclose(area_weights(latitude), cosine / cosine.mean(), rtol=1e-9)


def test_three_rows_by_hand() -> None:
    # Edges at 90, 30, -30, -90 degrees: areas 1 - 1/2, 1/2 + 1/2, -1/2 + 1.
    np.testing.assert_allclose(area_weights(np.array([60.0, 0.0, -60.0])), [0.75, 1.5, 0.75])
    # Half a step beyond 70 is no latitude; the cap reaches from 35 to the pole.
    cap = 1 - sine(35)
    expected = np.array([cap, 2 * sine(35), cap])
    np.testing.assert_allclose(area_weights(np.array([70.0, 0.0, -70.0])), expected * 3 / 2)
    # Rows that are not half a step from the poles, as on a Gaussian grid: edges at 90, 32.5, -32.5, -90.
    cap = 1 - sine(32.5)
    expected = np.array([cap, sine(32.5), sine(32.5), cap])
    np.testing.assert_allclose(area_weights(np.array([55.0, 10.0, -10.0, -55.0])), expected * 2)
    # Points on the poles: edges at 90, 45, -45, -90.
    cap = 1 - sine(45)
    expected = np.array([cap, 2 * sine(45), cap])
    np.testing.assert_allclose(area_weights(np.array([90.0, 0.0, -90.0])), expected * 3 / 2)


@pytest.mark.parametrize("rows", [181, 721])
def test_points_on_the_poles_have_half_cells(rows: int) -> None:
    latitude = np.linspace(90.0, -90.0, rows)
    step = 180 / (rows - 1)
    weights = area_weights(latitude)
    area = 2 * np.cos(np.deg2rad(latitude)) * sine(step / 2)
    area[[0, -1]] = 1 - sine(90 - step / 2)
    np.testing.assert_allclose(weights, area / area.mean(), rtol=1e-9)
    assert 0 < weights[0] < weights[1] / 2, "a cosine would give the pole nothing"


@pytest.mark.parametrize(
    "latitude",
    [np.linspace(90, -90, 7), np.array([60.0, 10.0, -20.0]), np.array([47.5, 52.5, 60.0]), np.array([-80.0, -85.0])],
)
def test_weights_work_either_way_round(latitude: np.ndarray) -> None:
    np.testing.assert_allclose(area_weights(latitude[::-1]), area_weights(latitude)[::-1], rtol=1e-12)


def test_weights_of_float32_latitudes_are_good_at_the_poles() -> None:
    # 721 rows: the area of a polar cell is 2e-6 of the sphere's, lost if sines were subtracted in float32.
    latitude = np.linspace(90.0, -90.0, 721)
    np.testing.assert_allclose(area_weights(latitude.astype(np.float32)), area_weights(latitude), rtol=1e-5)


@pytest.mark.parametrize("rows", [32, 48, 64, 160])
def test_rows_of_a_gaussian_grid_weigh_as_gauss_says(rows: int) -> None:
    nodes, quadrature = np.polynomial.legendre.leggauss(rows)
    latitude = np.rad2deg(np.arcsin(nodes))
    weights = area_weights(latitude)
    assert latitude[0] < 0 < latitude[-1], "south to north"
    # Cells that end midway are not quite Gauss's: within 1 % of each row, but for those at the poles.
    np.testing.assert_allclose(weights[1:-1], (quadrature / quadrature.mean())[1:-1], rtol=0.01)
    np.testing.assert_allclose(weights[[0, -1]], (quadrature / quadrature.mean())[[0, -1]], rtol=0.1)
    # The mean of sin^2 over the sphere is 1/3.
    assert np.mean(weights * nodes**2) == pytest.approx(1 / 3, rel=2e-3)


def test_a_region_does_not_reach_to_the_poles() -> None:
    weights = area_weights(np.array([50.0, 40.0, 30.0]))
    area = np.array([sine(55) - sine(45), sine(45) - sine(35), sine(35) - sine(25)])
    np.testing.assert_allclose(weights, area / area.mean())


def test_a_region_at_one_pole_ends_there_only() -> None:
    weights = area_weights(np.array([90.0, 80.0, 70.0]))
    area = np.array([1 - sine(85), sine(85) - sine(75), sine(75) - sine(65)])
    np.testing.assert_allclose(weights, area / area.mean())


def test_one_row_is_all_there_is() -> None:
    assert area_weights(np.array([45.0])).tolist() == [1.0]


@pytest.mark.parametrize("rows", [2, 5, 48, 181])
def test_weights_have_mean_one_and_are_positive(rows: int) -> None:
    weights = area_weights(np.linspace(90.0, -90.0, rows))
    assert weights.mean() == pytest.approx(1.0, abs=1e-12)
    assert (weights > 0).all()


# --- scores ---


ROWS, COLUMNS, CHANNELS = 6, 8, 3
LATITUDE = np.linspace(75.0, -75.0, ROWS)
WEIGHTS = area_weights(LATITUDE)


def fields(samples: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, CHANNELS, ROWS, COLUMNS, generator=generator)


def sums(weights: np.ndarray = WEIGHTS, channels: int = CHANNELS) -> ErrorSums:
    return ErrorSums(channels, weights, torch.device("cpu"))


def area_mean(field: np.ndarray) -> np.ndarray:
    """[sample, channel] mean over the sphere, in float64."""
    return (field * WEIGHTS[:, None]).sum(axis=(2, 3)) / (WEIGHTS.sum() * COLUMNS)


def test_scores_by_definition() -> None:
    forecast, truth, climatology = (fields(5, seed) for seed in (0, 1, 2))
    scores = sums()
    scores.update(forecast, truth, climatology)
    f, t, c = (tensor.double().numpy() for tensor in (forecast, truth, climatology))
    correlation = area_mean((f - c) * (t - c)) / np.sqrt(area_mean((f - c) ** 2) * area_mean((t - c) ** 2))
    assert scores.samples == 5
    # Fields are float32, sums float64: each product is rounded at 6e-8.
    np.testing.assert_allclose(scores.mse, area_mean((f - t) ** 2).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scores.rmse, np.sqrt(area_mean((f - t) ** 2).mean(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(scores.mae, area_mean(np.abs(f - t)).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scores.bias, area_mean(f - t).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(scores.acc, correlation.mean(axis=0), atol=1e-6)


def test_root_is_taken_after_the_mean_over_time() -> None:
    # Two samples with errors of 1 and 3 everywhere: sqrt((1 + 9) / 2), and not (1 + 3) / 2.
    scores = sums()
    truth = torch.zeros(2, CHANNELS, ROWS, COLUMNS)
    scores.update(truth + torch.tensor([1.0, 3.0])[:, None, None, None], truth)
    np.testing.assert_allclose(scores.rmse, np.sqrt(5.0), rtol=1e-6)
    np.testing.assert_allclose(scores.mae, 2.0, rtol=1e-6)
    np.testing.assert_allclose(scores.bias, 2.0, rtol=1e-6)


def test_bias_is_forecast_minus_truth() -> None:
    scores = sums()
    scores.update(torch.full((1, CHANNELS, ROWS, COLUMNS), 2.0), torch.full((1, CHANNELS, ROWS, COLUMNS), 5.0))
    np.testing.assert_allclose(scores.bias, -3.0, rtol=1e-6)


def test_rows_count_by_their_area_and_channels_apart() -> None:
    scores = sums(np.array([0.5, 2.0, 0.5]), channels=2)
    forecast = torch.zeros(1, 2, 3, 4)
    forecast[0, 0, 0] = 3.0
    forecast[0, 1, 1] = 3.0
    scores.update(forecast, torch.zeros(1, 2, 3, 4))
    np.testing.assert_allclose(scores.mse, [9 * 0.5 / 3, 9 * 2.0 / 3])


def test_acc_of_known_forecasts() -> None:
    truth, climatology = fields(4, 0), fields(4, 1)
    for forecast, acc in [
        (truth, 1.0),
        (climatology + 0.1 * (truth - climatology), 1.0),  # the right pattern, ten times too weak
        (2 * climatology - truth, -1.0),
        (climatology, 0.0),
    ]:
        scores = sums()
        scores.update(forecast, truth, climatology)
        np.testing.assert_allclose(scores.acc, acc, atol=1e-5)


def test_acc_needs_a_climatology_and_does_not_take_the_mean_for_one() -> None:
    # Two fields that share a mean state but no departure from it correlate as they are, not as departures.
    mean_state = 10 * torch.linspace(-1, 1, ROWS)[:, None].expand(4, CHANNELS, ROWS, COLUMNS)
    scores = sums()
    scores.update(mean_state + fields(4, 0), mean_state + fields(4, 1), mean_state)
    assert np.abs(scores.acc).max() < 0.3


def test_acc_is_the_mean_of_the_correlations_of_times() -> None:
    # A strong time with a perfect forecast and a weak one with an opposite forecast count the same.
    climatology = torch.zeros(2, CHANNELS, ROWS, COLUMNS)
    truth = fields(2, 0) * torch.tensor([100.0, 0.01])[:, None, None, None]
    forecast = truth * torch.tensor([1.0, -1.0])[:, None, None, None]
    scores = sums()
    scores.update(forecast, truth, climatology)
    np.testing.assert_allclose(scores.acc, 0.0, atol=1e-5)


@pytest.mark.parametrize("parts", [[1] * 7, [3, 4], [2, 2, 2, 1], [6, 1]])
def test_scores_do_not_depend_on_batches(parts: list[int]) -> None:
    forecast, truth, climatology = (fields(7, seed) for seed in (0, 1, 2))
    whole, pieces = sums(), sums()
    whole.update(forecast, truth, climatology)
    for part in zip(*(tensor.split(parts) for tensor in (forecast, truth, climatology)), strict=True):
        pieces.update(*part)
    assert pieces.samples == 7
    for score in ("mse", "rmse", "mae", "bias", "acc"):
        np.testing.assert_allclose(getattr(pieces, score), getattr(whole, score), rtol=1e-12, atol=1e-14)


def test_many_samples_are_summed_in_float64() -> None:
    # A float32 sum of 1e8 would swallow errors of 1.
    scores = sums(np.ones(ROWS))
    truth = torch.zeros(4, CHANNELS, ROWS, COLUMNS)
    errors = torch.tensor([1e4, 1.0, 1.0, 1.0])[:, None, None, None]
    scores.update(truth + errors, truth)
    np.testing.assert_allclose(scores.mse * 4, 1e8 + 3, rtol=1e-12)


def test_half_precision_forecasts_are_scored_in_float32() -> None:
    scores = sums()
    truth = torch.full((1, CHANNELS, ROWS, COLUMNS), 0.001)
    scores.update(torch.full_like(truth, 256.0).bfloat16(), truth)
    np.testing.assert_allclose(scores.mae, 255.999, rtol=1e-6)


def test_without_ranks_the_sums_stay_as_they_are() -> None:
    scores = sums()
    scores.update(fields(2, 0), fields(2, 1))
    before = scores.mse.copy()
    assert scores.over_ranks() is scores
    np.testing.assert_array_equal(scores.mse, before)
    assert scores.samples == 2
