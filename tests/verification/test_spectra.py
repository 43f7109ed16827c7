"""Zonal spectra against SciPy, and against fields whose waves are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from weather.verification.metrics import area_weights
from weather.verification.spectra import SpectrumSums, without_spectra

LATITUDE = np.array([60.0, 20.0, -20.0, -60.0])
WEIGHTS = area_weights(LATITUDE)


def spectrum(fields: np.ndarray) -> np.ndarray:
    """[channel, wavenumber] mean over the fields."""
    sums = SpectrumSums(2, fields.shape[1], WEIGHTS, fields.shape[-1], torch.device("cpu"))
    for field in fields:  # one by one: what is summed up over batches
        sums.update([1], torch.from_numpy(field[None].astype(np.float32)))
    assert not sums.sums[0].any()
    return sums.sums[1].numpy() / len(fields)


@pytest.mark.parametrize("columns", [16, 15])
def test_it_is_scipys_periodogram(columns: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    fields = np.random.default_rng(0).standard_normal((3, 2, 4, columns)) + 5
    waves, power = signal.periodogram(fields, fs=columns, detrend=False, scaling="spectrum")
    expected = (power * WEIGHTS[:, None] / WEIGHTS.sum()).sum(axis=2).mean(axis=0)[:, 1:]
    np.testing.assert_allclose(spectrum(fields), expected, rtol=1e-5)
    sums = SpectrumSums(1, 2, WEIGHTS, columns, torch.device("cpu"))
    np.testing.assert_allclose(sums.wavenumbers, waves[1:], rtol=1e-12)


def test_a_wave_has_half_its_amplitude_squared_and_all_waves_the_variance() -> None:
    longitude = np.arange(24) * 2 * np.pi / 24
    wave = np.broadcast_to(3 * np.cos(5 * longitude) + 7, (1, 1, 4, 24))
    power = spectrum(wave)[0]
    assert power[4] == pytest.approx(4.5, rel=1e-6)
    assert np.delete(power, 4).max() < 1e-10
    noise = np.random.default_rng(1).standard_normal((1, 1, 4, 24))
    variance = (noise.var(axis=-1)[0, 0] * WEIGHTS / WEIGHTS.sum()).sum()
    assert spectrum(noise).sum() == pytest.approx(variance, rel=1e-5)


def test_a_large_mean_leaves_small_waves_as_they_are() -> None:
    """As in geopotential: a mean of 54,000, a large long wave, and a short one that float32 can still hold."""
    longitude = np.arange(64) * 2 * np.pi / 64
    # In steps of 1/256, so that float32 holds mean and waves exactly.
    waves = np.round(256 * (1000 * np.cos(2 * longitude) + 0.05 * np.cos(25 * longitude))) / 256
    fields = np.broadcast_to(54_000 + waves, (1, 1, 4, 64))
    exact = 2 * np.abs(np.fft.rfft(waves)[1:] / 64) ** 2
    assert exact[24] == pytest.approx(0.05**2 / 2, rel=0.01)
    # Rounding at 1e-7 of the long wave makes less than 1e-8 of power; at 1e-7 of the mean it makes up to 6e-7.
    np.testing.assert_allclose(spectrum(fields)[0, :-1], exact[:-1], rtol=1e-5, atol=1e-8)


def test_a_channel_that_is_not_finite_leaves_the_others() -> None:
    fields = np.random.default_rng(0).standard_normal((2, 2, 4, 8))
    clean = spectrum(fields)
    fields[0, 0, 0, 0] = np.nan
    found = spectrum(fields)
    assert not np.isfinite(found[0]).any()
    np.testing.assert_array_equal(found[1], clean[1])


def test_which_grids_have_none() -> None:
    assert without_spectra(np.arange(8) * 45.0) is None
    assert without_spectra(np.arange(144) * 2.5 + 20) is None
    assert without_spectra((np.arange(8) * 45.0 + 180) % 360 - 180) is None  # -180 to 180
    assert "whole circle" in str(without_spectra(np.arange(8) * 1.0))
    assert "equally spaced" in str(without_spectra(np.array([0.0, 80.0, 180.0, 270.0])))
    assert "one longitude" in str(without_spectra(np.zeros(1)))
