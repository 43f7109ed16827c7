"""Zonal power spectra: how much variance fields have at each zonal wavenumber, summed up over many fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

EQUAL_STEPS = 0.01  # largest relative difference of the steps between longitudes that counts as none


def without_spectra(longitude: np.ndarray) -> str | None:
    """Why a grid with these longitudes [lon] has no zonal spectra; None: it has."""
    if len(longitude) < 2:
        return "one longitude has no zonal spectrum"
    steps = np.diff(np.unwrap(longitude, period=360.0))
    step = float(np.abs(steps).mean())
    if np.ptp(steps) > EQUAL_STEPS * step:
        return f"zonal spectra need equally spaced longitudes; the steps are {steps.min():g} to {steps.max():g} degrees"
    if abs(step * len(longitude) - 360.0) > EQUAL_STEPS * step * len(longitude):
        return f"zonal spectra need a whole circle of longitudes; these cover {step * len(longitude):g} degrees"
    return None


class SpectrumSums:
    """Sums over fields of their zonal power spectra, area-weighted means over all latitudes.

    Power at wavenumber k is |X_k / W|^2 of the real Fourier transform X along W longitudes, doubled where k stands for
    -k too: `scipy.signal.periodogram(x, fs=W, detrend=False, scaling="spectrum")`. Over all k from 1 it adds up to the
    variance along a latitude. WeatherBench 2, derived_variables.ZonalEnergySpectrum, keeps latitudes apart, multiplies
    by the length of the circle, and doubles the wave of two points too.

    Args:
        slots: spectra that are summed up apart, such as leads times sources.
        weights: [lat]; longitudes: how many.
        device: where fields are.
    """

    def __init__(self, slots: int, channels: int, weights: np.ndarray, longitudes: int, device: torch.device) -> None:
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        waves = np.arange(1, longitudes // 2 + 1)
        both = np.where(2 * waves == longitudes, 1.0, 2.0) / longitudes**2
        self.wavenumbers = waves
        self.scale = torch.from_numpy(both).to(device, self.dtype)
        self.weights = torch.from_numpy(weights / weights.sum()).to(device, torch.float32)[:, None]
        self.sums = torch.zeros(slots, channels, len(waves), dtype=self.dtype, device=device)

    def update(self, slots: Sequence[int], fields: torch.Tensor) -> None:
        """Add fields [batch, channel, lat, lon] to some slots."""
        # A transform rounds at the size of its largest coefficient: in that of a large mean short waves would drown.
        waves = fields - fields[..., :1]
        transformed = torch.view_as_real(torch.fft.rfft(waves, dim=-1)[..., 1:])
        power = transformed.square().sum(dim=-1) * self.weights
        total = power.sum(dim=(0, 2), dtype=self.dtype) * self.scale
        for slot in slots:
            self.sums[slot] += total
