"""What a verification found: scores of every initial time, from which means, intervals, tables and figures follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MODEL, PERSISTENCE, CLIMATOLOGY = "model", "persistence", "climatology"


@dataclass(frozen=True)
class Scores:
    """Scores of forecasts by source, region, initial time, lead and channel, in physical units.

    The values of one initial time are kept, so that intervals can be found by resampling initial times. A forecast
    that blew up has values that are not finite; none is left out.

    Attributes:
        channels, units: [C].
        lead_hours: [L], rising.
        sources: [S] the model first, then the baselines.
        regions: [R] `global` first.
        initial_times: [T] datetime64[s], or None where the archive has no time stamps.
        squared_error, absolute_error, error, correlation, activity: [S, R, T, L, C] float64, area means over a region
            of the squared, absolute and plain error; correlation of forecast and true anomaly over it (uncentred, as
            WeatherBench 2); standard deviation over it of the forecast anomaly.
        true_activity: [R, T, L, C] the same of the truth's anomaly.
        wavenumbers: [K] zonal, from 1.
        power: [S + 1, L, C, K] zonal power spectra, mean over initial times and latitudes; the truth comes last.
        blown_up: [L] of the model's forecasts that hold a value that is not finite.
        climatology: what it is, in words.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    lead_hours: tuple[float, ...]
    sources: tuple[str, ...]
    regions: tuple[str, ...]
    initial_times: np.ndarray | None
    squared_error: np.ndarray
    absolute_error: np.ndarray
    error: np.ndarray
    correlation: np.ndarray
    activity: np.ndarray
    true_activity: np.ndarray
    wavenumbers: np.ndarray
    power: np.ndarray
    blown_up: np.ndarray
    climatology: str
