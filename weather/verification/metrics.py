"""Deterministic scores of one forecast as WeatherBench 2 defines them (Rasp et al. 2024, and its code, metrics.py).

All means over the globe or a region of it are weighed by cell area. What a score is over many forecasts is said in
`scores`: RMSE takes the root after the mean over time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from weather.data.grid import latitude_edges
from weather.runtime.collectives import sum_over_ranks

#: Scores of one forecast, in the order in which `ForecastScores` gives them.
MEASURES = ("squared_error", "absolute_error", "error", "correlation", "activity")


def area_weights(latitude: np.ndarray) -> np.ndarray:
    """Weight [lat] of each latitude row by the area of its cells, with mean 1.

    The area is the difference of the sines of a cell's edges (WeatherBench 2, metrics.get_lat_weights). The outermost
    cells of a regional grid end half a step out (WeatherBench-X); in WeatherBench 2 they reach to the poles.
    """
    if len(latitude) == 1:
        return np.ones(1)
    area = np.abs(np.diff(np.sin(np.deg2rad(latitude_edges(latitude)))))
    return area / area.mean()


class AreaMeans:
    """Area means of fields over regions, summed in float64.

    A region is averaged over its own rows, so that a value that is not finite elsewhere does not reach it.

    Args:
        weights: [lat] of the grid.
        regions: the rows of each; their weights are normalised within it.
        device: where fields are.
    """

    def __init__(self, weights: np.ndarray, regions: Mapping[str, np.ndarray], device: torch.device) -> None:
        # MPS has no float64; it sums in float32.
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.regions = tuple(regions)
        self.rows = [torch.from_numpy(rows).to(device) for rows in regions.values()]
        self.weights = [
            torch.from_numpy(weights[rows] / weights[rows].sum()).to(device, self.dtype) for rows in regions.values()
        ]

    def rows_of(self, field: torch.Tensor) -> torch.Tensor:
        """Zonal means [..., lat] of fields [..., lat, lon]."""
        return field.mean(dim=-1, dtype=self.dtype)

    def over_regions(self, rows: torch.Tensor) -> torch.Tensor:
        """Area means [region, ...] of zonal means [..., lat]."""
        return torch.stack(
            [
                torch.einsum("...l,l->...", rows.index_select(-1, chosen), weights)
                for chosen, weights in zip(self.rows, self.weights, strict=True)
            ]
        )


class ForecastScores:
    """Scores of single forecasts over regions.

    Args:
        means: over the regions.
    """

    def __init__(self, means: AreaMeans) -> None:
        self.means = means

    def observe(self, truth: torch.Tensor, climatology: torch.Tensor) -> torch.Tensor:
        """Take the truth that the next forecasts are scored against.

        Args:
            truth, climatology: [batch, channel, lat, lon] at the valid times.

        Returns:
            Activity of the truth [region, batch, channel].
        """
        self.truth, self.climatology = truth, climatology
        self.observed = truth - climatology
        self.observed_mean, self.observed_square = self._means(self.observed, self.observed.square())
        return _deviation(self.observed_mean, self.observed_square)

    def __call__(self, forecast: torch.Tensor) -> torch.Tensor:
        """Scores [measure, region, batch, channel] of forecasts [batch, channel, lat, lon], in the order of `MEASURES`.

        - squared, absolute and plain error, forecast minus truth;
        - correlation of the anomalies of forecast and truth, uncentred: no mean of the anomalies is taken off
          (WeatherBench 2, metrics.ACC);
        - activity: standard deviation over the region of the anomaly of the forecast (Ben Bouallegue et al. 2024, arXiv
          2307.10128). WeatherBench 2 has none; WeatherBench-X, deterministic.PredictionActivity, leaves the mean in.
        """
        error = forecast - self.truth
        anomaly = forecast - self.climatology
        squared, absolute, plain, product, mean, square = self._means(
            error.square(), error.abs(), error, anomaly * self.observed, anomaly, anomaly.square()
        )
        norm = (square * self.observed_square).sqrt()
        correlation = product / norm.clamp_min(torch.finfo(self.means.dtype).tiny)
        # What overflows is no correlation of 0.
        correlation = torch.where(torch.isfinite(norm), correlation, torch.nan)
        return torch.stack([squared, absolute, plain, correlation, _deviation(mean, square)])

    def of_climatology(self) -> torch.Tensor:
        """Scores of the climatology as a forecast, as above: it has no anomaly, and by convention correlation 0.

        WeatherBench 2 divides 0 by 0 there.
        """
        (absolute,) = self._means(self.observed.abs())
        none = torch.zeros_like(absolute)
        return torch.stack([self.observed_square, absolute, -self.observed_mean, none, none])

    def _means(self, *fields: torch.Tensor) -> torch.Tensor:
        """[field, region, batch, channel]."""
        rows = torch.stack([self.means.rows_of(field) for field in fields])
        return self.means.over_regions(rows).movedim(0, 1)


def _deviation(mean: torch.Tensor, square: torch.Tensor) -> torch.Tensor:
    return (square - mean.square()).clamp_min(0.0).sqrt()


class ErrorSums:
    """Sums over samples of area-weighted errors over the whole grid, for the validation of one step in training.

    Each sample adds once, in float64, so that the scores do not depend on batches or ranks beyond rounding.

    Args:
        channels: how many.
        weights: [lat].
        device: where forecasts are.
    """

    def __init__(self, channels: int, weights: np.ndarray, device: torch.device) -> None:
        self.means = AreaMeans(weights, {"global": np.arange(len(weights))}, device)
        self.home = torch.device("cpu") if device.type == "mps" else device
        self.sums = torch.zeros(2, channels, dtype=torch.float64, device=self.home)
        self.count = torch.zeros((), dtype=torch.int64)

    def update(self, forecast: torch.Tensor, truth: torch.Tensor) -> None:
        """Add samples: both [batch, channel, lat, lon]."""
        error = forecast - truth
        rows = torch.stack([self.means.rows_of(error.square()), self.means.rows_of(error.abs())])
        self.sums += self.means.over_regions(rows)[0].sum(dim=1).to(self.home, torch.float64)
        self.count += len(error)

    def over_ranks(self) -> ErrorSums:
        """Add the sums of all ranks, in place."""
        sum_over_ranks(self.sums)
        sum_over_ranks(self.count)
        return self

    @property
    def samples(self) -> int:
        return int(self.count.item())

    @property
    def mse(self) -> np.ndarray:
        """Mean squared error [channel]."""
        return np.asarray(self.sums[0].cpu().numpy() / max(self.samples, 1))

    @property
    def rmse(self) -> np.ndarray:
        """Root of the mean over samples of the squared error [channel]."""
        return np.sqrt(self.mse)

    @property
    def mae(self) -> np.ndarray:
        """Mean absolute error [channel]."""
        return np.asarray(self.sums[1].cpu().numpy() / max(self.samples, 1))
