"""Deterministic scores as WeatherBench 2 defines them (Rasp et al. 2024, section 4).

RMSE takes the root after the mean over time. ACC is the mean over time of the correlation, over the globe, of
forecast and observed departures from climatology. All means over the globe are weighed by cell area.
"""

from __future__ import annotations

import numpy as np
import torch

from weather.data.grid import latitude_edges
from weather.runtime.collectives import sum_over_ranks


def area_weights(latitude: np.ndarray) -> np.ndarray:
    """Weight [lat] of each latitude row by the area of its cells, with mean 1.

    The area is the difference of the sines of a cell's edges (WeatherBench 2).
    """
    if len(latitude) == 1:
        return np.ones(1)
    area = np.abs(np.diff(np.sin(np.deg2rad(latitude_edges(latitude)))))
    return area / area.mean()


class ErrorSums:
    """Sums over samples of area-weighted errors, from which the scores of each channel follow.

    Each sample adds once, in float64, so that the scores do not depend on batches or ranks beyond rounding.

    Args:
        channels: how many.
        weights: [lat] with mean 1.
        device: where forecasts are.
    """

    def __init__(self, channels: int, weights: np.ndarray, device: torch.device) -> None:
        self.device = device
        # MPS has no float64; it sums a batch in float32, and the batches are summed on the host.
        self.sum_dtype = torch.float32 if device.type == "mps" else torch.float64
        self.weights = torch.from_numpy(weights).to(device, torch.float32)[:, None]
        self.home = torch.device("cpu") if device.type == "mps" else device
        self.sums = torch.zeros(5, channels, dtype=torch.float64, device=self.home)

    def update(self, forecast: torch.Tensor, truth: torch.Tensor, climatology: torch.Tensor | None = None) -> None:
        """Add samples: all [batch, channel, lat, lon]; without a climatology there is no ACC."""
        error = forecast - truth
        scores = [self._mean(error.square()), self._mean(error.abs()), self._mean(error)]
        if climatology is None:
            scores.append(torch.full_like(scores[0], torch.nan))
        else:
            departure, observed = forecast - climatology, truth - climatology
            spread = self._mean(departure.square()) * self._mean(observed.square())
            # A forecast that is the climatology has no departure: its correlation is 0 by convention.
            scores.append(self._mean(departure * observed) / spread.sqrt().clamp_min(torch.finfo(self.sum_dtype).tiny))
        scores.append(torch.ones_like(scores[0]))
        self.sums += torch.stack(scores).sum(dim=1).to(self.home, torch.float64)

    def _mean(self, field: torch.Tensor) -> torch.Tensor:
        """Area mean [batch, channel]."""
        return (field * self.weights).mean(dim=(2, 3), dtype=self.sum_dtype)

    def over_ranks(self) -> ErrorSums:
        """Add the sums of all ranks, in place."""
        sum_over_ranks(self.sums)
        return self

    @property
    def samples(self) -> int:
        return int(self.sums[4, 0].item())

    def _averages(self) -> np.ndarray:
        sums: np.ndarray = self.sums.cpu().numpy()
        return sums / np.maximum(sums[4], 1)

    @property
    def mse(self) -> np.ndarray:
        """Mean squared error [channel]."""
        return self._averages()[0]

    @property
    def rmse(self) -> np.ndarray:
        return np.sqrt(self.mse)

    @property
    def mae(self) -> np.ndarray:
        return self._averages()[1]

    @property
    def bias(self) -> np.ndarray:
        """Mean error, forecast minus truth."""
        return self._averages()[2]

    @property
    def acc(self) -> np.ndarray:
        """Anomaly correlation; NaN without a climatology."""
        return self._averages()[3]
