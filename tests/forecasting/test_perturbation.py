"""The noise of ensembles: its size, its length, and that it depends on nothing but seed, time and member."""

from __future__ import annotations

import numpy as np
import torch

from weather.forecasting.perturbation import EARTH_RADIUS_KM, Noise, Perturbation

LATITUDE, LONGITUDE = np.linspace(90, -90, 19), np.arange(0, 360, 10.0)
TIME = np.datetime64("2020-01-01", "s")
CPU = torch.device("cpu")


def noise(length_km: float, seed: int = 0) -> Noise:
    return Noise(Perturbation(0.5, length_km, seed), LATITUDE, LONGITUDE, CPU)


def test_smooth_noise_has_its_length_everywhere_on_the_sphere() -> None:
    """800 fields: sampling error of a correlation 0.04, and that of 512 waves as much."""
    length = 2000.0
    fields = noise(length).draw(TIME, 1, 800).numpy()
    np.testing.assert_allclose(fields.std(), 1.0, atol=0.05)
    assert fields[:, 0].std(axis=1).max() < 1e-5  # a pole is one point

    def correlation(one: tuple[int, int], other: tuple[int, int]) -> float:
        return float(np.corrcoef(fields[:, one[0], one[1]], fields[:, other[0], other[1]])[0, 1])

    chord = 2 * EARTH_RADIUS_KM * np.sin(np.deg2rad(20.0) / 2)
    expected = np.exp(-((chord / length) ** 2) / 2)
    equator, near_pole = (9, 0), (2, 0)
    assert abs(correlation(equator, (9, 2)) - expected) < 0.12  # east
    assert abs(correlation(equator, (9, 34)) - expected) < 0.12  # west, across the date line
    assert abs(correlation(equator, (7, 0)) - expected) < 0.12  # north
    assert abs(correlation(near_pole, (0, 5)) - expected) < 0.12  # the pole, 20 degrees from there
    assert abs(correlation(equator, (9, 18))) < 0.12  # the other side of the earth


def test_white_noise_is_white() -> None:
    fields = noise(0.0).draw(TIME, 1, 400).numpy()
    np.testing.assert_allclose(fields.std(), 1.0, atol=0.01)
    assert abs(np.corrcoef(fields[:, 9, 0], fields[:, 9, 1])[0, 1]) < 0.2


def test_noise_is_a_function_of_seed_time_and_member() -> None:
    first = noise(1000.0).draw(TIME, 3, 2)
    assert torch.equal(first, noise(1000.0).draw(TIME, 3, 2))
    others = (
        noise(1000.0, seed=1).draw(TIME, 3, 2),
        noise(1000.0).draw(TIME, 4, 2),
        noise(1000.0).draw(TIME + np.timedelta64(6, "h"), 3, 2),
    )
    for other in others:
        assert not torch.allclose(first, other)


def test_the_control_is_the_analysis_and_others_keep_their_tendencies() -> None:
    states = torch.randn(2, 3, 2, 19, 36, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([10.0, 0.1])
    times = [TIME, TIME + np.timedelta64(6, "h")]
    made = noise(0.0).perturbed(states, scale, times, (0, 5)).unflatten(0, (2, 2))
    assert torch.equal(made[:, 0], states)
    added = made[:, 1] - states
    torch.testing.assert_close(added[:, 0], added[:, 2], atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(added.std(dim=(0, 1, 3, 4)).numpy(), [5.0, 0.05], rtol=0.05)
