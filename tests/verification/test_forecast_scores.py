"""Scores of single forecasts against definitions in float64 NumPy, and against `scores` and `xskillscore`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from weather.errors import ConfigError
from weather.verification.metrics import MEASURES, AreaMeans, ErrorSums, ForecastScores, area_weights
from weather.verification.regions import region_rows

ROWS, COLUMNS, CHANNELS = 10, 8, 3
LATITUDE = np.linspace(90.0, -90.0, ROWS)
WEIGHTS = area_weights(LATITUDE)
CPU = torch.device("cpu")


def fields(samples: int, seed: int) -> torch.Tensor:
    return torch.randn(samples, CHANNELS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(seed))


def score(forecast: torch.Tensor, truth: torch.Tensor, climatology: torch.Tensor) -> dict[str, np.ndarray]:
    """Scores [region, sample, channel] by name, and the truth's activity."""
    single = ForecastScores(AreaMeans(WEIGHTS, region_rows(LATITUDE), CPU))
    observed = single.observe(truth, climatology)
    return {**dict(zip(MEASURES, single(forecast).numpy(), strict=True)), "true_activity": observed.numpy()}


def area_mean(field: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[sample, channel] mean over a region, in float64."""
    return (field * (WEIGHTS * rows)[:, None]).sum(axis=(2, 3)) / ((WEIGHTS * rows).sum() * COLUMNS)


REGIONS = {
    "global": LATITUDE < 100,
    "tropics": np.abs(LATITUDE) <= 20,
    "extratropics": np.abs(LATITUDE) >= 20,
    "northern_extratropics": LATITUDE >= 20,
    "southern_extratropics": LATITUDE <= -20,
}


def test_scores_by_definition_in_every_region() -> None:
    tensors = fields(5, 0), fields(5, 1), fields(5, 2)
    found = score(*tensors)
    f, t, c = (tensor.double().numpy() for tensor in tensors)
    for number, rows in enumerate(REGIONS.values()):
        square_f, square_t = area_mean((f - c) ** 2, rows), area_mean((t - c) ** 2, rows)
        expected = {
            "squared_error": area_mean((f - t) ** 2, rows),
            "absolute_error": area_mean(np.abs(f - t), rows),
            "error": area_mean(f - t, rows),
            "correlation": area_mean((f - c) * (t - c), rows) / np.sqrt(square_f * square_t),
            "activity": np.sqrt(square_f - area_mean(f - c, rows) ** 2),
            "true_activity": np.sqrt(square_t - area_mean(t - c, rows) ** 2),
        }
        for name, values in expected.items():
            # Fields and their squares are float32 of order 1, sums float64.
            np.testing.assert_allclose(found[name][number], values, rtol=1e-6, atol=1e-7, err_msg=name)


def test_scores_and_xskillscore_say_the_same() -> None:
    scores, xskillscore = pytest.importorskip("scores"), pytest.importorskip("xskillscore")
    import xarray

    tensors = fields(4, 0), fields(4, 1), fields(4, 2)
    found = score(*tensors)
    f, t, c = (
        xarray.DataArray(x.double().numpy(), dims=("time", "channel", "lat", "lon"), coords={"lat": LATITUDE})
        for x in tensors
    )
    weights = xarray.DataArray(WEIGHTS, dims="lat", coords={"lat": LATITUDE})
    flat = (weights * xarray.ones_like(f.isel(time=0, channel=0))).transpose("lat", "lon")
    area: dict[str, Any] = {"reduce_dims": ["lat", "lon"], "weights": weights}
    for number, (name, rows) in enumerate(REGIONS.items()):
        f_, t_, c_, flat_ = (x.isel(lat=np.flatnonzero(rows)) for x in (f, t, c, flat))
        area["weights"] = weights.isel(lat=np.flatnonzero(rows))
        squares = xskillscore.mse(f_, t_, dim=["lat", "lon"], weights=flat_)
        np.testing.assert_allclose(found["squared_error"][number], scores.continuous.mse(f_, t_, **area), rtol=1e-6)
        np.testing.assert_allclose(found["squared_error"][number], squares, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose(found["absolute_error"][number], scores.continuous.mae(f_, t_, **area), rtol=1e-6)
        bias = scores.continuous.additive_bias(f_, t_, **area)
        np.testing.assert_allclose(found["error"][number], bias, rtol=1e-6, atol=1e-7)
        # A departure whose mean over the region is taken off correlates as `pearson_r`, which centres, says.
        offset = [(x * flat_).sum(["lat", "lon"]) / flat_.sum() for x in (f_ - c_, t_ - c_)]
        centred = xskillscore.pearson_r(f_ - c_, t_ - c_, dim=["lat", "lon"], weights=flat_)
        kept = [tensor.double().numpy() for tensor in tensors]
        kept[0] = kept[0] - offset[0].values[..., None, None]
        kept[1] = kept[1] - offset[1].values[..., None, None]
        again = score(*(torch.from_numpy(x) for x in kept))
        np.testing.assert_allclose(again["correlation"][number], centred, rtol=1e-6, atol=1e-7, err_msg=name)


def test_rows_on_the_edge_of_the_tropics_belong_to_both_sides() -> None:
    rows = region_rows(np.array([60.0, 20.0, 0.0, -20.0, -60.0]))
    assert {name: found.tolist() for name, found in rows.items()} == {
        "global": [0, 1, 2, 3, 4],
        "tropics": [1, 2, 3],
        "extratropics": [0, 1, 3, 4],
        "northern_extratropics": [0, 1],
        "southern_extratropics": [3, 4],
    }


def test_a_region_that_the_grid_does_not_reach() -> None:
    europe = np.linspace(70.0, 35.0, 8)
    assert list(region_rows(europe)) == ["global", "extratropics", "northern_extratropics"]
    assert list(region_rows(europe, ["extratropics"])) == ["global", "extratropics"]
    with pytest.raises(ConfigError, match="no row in tropics.*between 35 and 70"):
        region_rows(europe, ["tropics"])
    with pytest.raises(ConfigError, match="'tropic' is no region.*did you mean 'tropics'"):
        region_rows(europe, ["tropic"])


def test_acc_of_known_forecasts() -> None:
    truth, climatology = fields(4, 0), fields(4, 1)
    for forecast, acc in [
        (truth, 1.0),
        (climatology + 0.1 * (truth - climatology), 1.0),  # the right pattern, ten times too weak
        (2 * climatology - truth, -1.0),
        (climatology, 0.0),
    ]:
        np.testing.assert_allclose(score(forecast, truth, climatology)["correlation"], acc, atol=1e-5)


def test_the_climatology_is_scored_as_any_forecast() -> None:
    truth, climatology = fields(4, 0), fields(4, 1)
    single = ForecastScores(AreaMeans(WEIGHTS, region_rows(LATITUDE), CPU))
    single.observe(truth, climatology)
    torch.testing.assert_close(single.of_climatology(), single(climatology), rtol=1e-6, atol=1e-7)


def test_the_mean_of_the_anomaly_is_not_taken_off() -> None:
    """Anomalies 3 + 1 at odd columns, 3 - 1 at even, against 3: uncentred 3 / sqrt(10), centred undefined."""
    waves = torch.tensor([1.0, -1.0]).repeat(COLUMNS // 2).expand(1, CHANNELS, ROWS, COLUMNS)
    found = score(3 + waves, torch.full_like(waves, 3.0), torch.zeros_like(waves))
    np.testing.assert_allclose(found["correlation"], 3 / np.sqrt(10), rtol=1e-6)
    np.testing.assert_allclose(found["activity"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(found["true_activity"], 0.0, atol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_what_is_not_finite_stays_in_its_sample_channel_and_region(bad: float) -> None:
    """1e30 is finite, but its square is not in float32: it has no finite scores and no correlation of 0 either."""
    forecast, truth, climatology = (fields(3, seed) for seed in (0, 1, 2))
    before = score(forecast, truth, climatology)
    forecast[1, 2, 0, 5] = bad  # at the north pole
    found = score(forecast, truth, climatology)
    touched = np.zeros((5, 3, CHANNELS), bool)
    touched[[0, 2, 3], 1, 2] = True
    for name in ("squared_error", "correlation", "activity"):
        np.testing.assert_array_equal(~np.isfinite(found[name]), touched, err_msg=name)
        np.testing.assert_array_equal(found[name][~touched], before[name][~touched])
    np.testing.assert_array_equal(found["true_activity"], before["true_activity"])


def test_many_points_are_summed_in_float64() -> None:
    # A float32 sum of 1e8 would swallow errors of 1.
    forecast = torch.ones(1, 1, 2, 50_000)
    forecast[0, 0, 0, 0] = 1e4
    means = AreaMeans(np.ones(2), {"global": np.arange(2)}, CPU)
    single = ForecastScores(means)
    single.observe(torch.zeros_like(forecast), torch.zeros_like(forecast))
    np.testing.assert_allclose(single(forecast)[0].numpy() * 1e5, 1e8 + 99_999, rtol=1e-12)


# --- validation of one step ---


@pytest.mark.parametrize("parts", [[7], [1] * 7, [2, 2, 2, 1]])
def test_error_sums_do_not_depend_on_batches(parts: list[int]) -> None:
    forecast, truth = fields(7, 0), fields(7, 1)
    sums = ErrorSums(CHANNELS, WEIGHTS, CPU)
    for part in zip(forecast.split(parts), truth.split(parts), strict=True):
        sums.update(*part)
    assert sums.over_ranks().samples == 7
    error = (forecast - truth).double().numpy()
    everywhere = np.ones(ROWS, bool)
    np.testing.assert_allclose(sums.mse, area_mean(error**2, everywhere).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(sums.rmse, np.sqrt(area_mean(error**2, everywhere).mean(axis=0)), rtol=1e-6)
    np.testing.assert_allclose(sums.mae, area_mean(np.abs(error), everywhere).mean(axis=0), rtol=1e-6)


def test_half_precision_forecasts_are_scored_in_float32() -> None:
    truth = torch.full((1, CHANNELS, ROWS, COLUMNS), 0.001)
    sums = ErrorSums(CHANNELS, WEIGHTS, CPU)
    sums.update(torch.full_like(truth, 256.0).bfloat16(), truth)
    np.testing.assert_allclose(sums.mae, 255.999, rtol=1e-6)
