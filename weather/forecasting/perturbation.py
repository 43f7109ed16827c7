"""Perturbed initial states: noise of a stated size and length, added to the analysis.

It is no optimal perturbation: neither singular vectors nor bred vectors, nor what an analysis does not know. A part of
it is not in balance and is damped in the first steps of a forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from weather.runtime.seeds import derive_seed

EARTH_RADIUS_KM = 6371.0
WAVES = 512  # random waves that a smooth field is the sum of; its correlation is within 1/sqrt(512) of the stated one
BLOCK_POINTS = 2**16  # grid points at once


@dataclass(frozen=True)
class Perturbation:
    """How initial states are perturbed.

    Attributes:
        amplitude: standard deviation of the noise over the scale of its channel.
        length_km: correlation length of the noise; 0: white.
        seed: of all noise.
    """

    amplitude: float
    length_km: float
    seed: int


class Noise:
    """Fields of noise with mean 0 and standard deviation 1 on a grid.

    With a length L the noise is a Gaussian field that is isotropic on the sphere, poles and date line included, whose
    correlation at the chord distance d is exp(-d^2 / 2 L^2): a sum of random plane waves in space, taken at the grid's
    points (random Fourier features, Rahimi & Recht 2007).

    Args:
        latitude, longitude: [lat], [lon] in degrees.
    """

    def __init__(
        self, perturbation: Perturbation, latitude: np.ndarray, longitude: np.ndarray, device: torch.device
    ) -> None:
        self.perturbation, self.device = perturbation, device
        self.grid = (len(latitude), len(longitude))
        self.waves: torch.Tensor | None = None
        if perturbation.length_km > 0:
            phi, lam = np.deg2rad(latitude)[:, None], np.deg2rad(longitude)[None, :]
            points = np.stack(
                [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi) + 0 * lam], axis=-1
            ).reshape(-1, 3)
            generator = np.random.default_rng(derive_seed(perturbation.seed, "perturbation", "waves"))
            self.points = torch.from_numpy(points).to(device, torch.float32)
            vectors = generator.standard_normal((3, WAVES)) * EARTH_RADIUS_KM / perturbation.length_km
            self.waves = torch.from_numpy(vectors).to(device, torch.float32)

    def draw(self, time: np.datetime64, member: int, channels: int) -> torch.Tensor:
        """[channel, lat, lon] float32: a pure function of seed, initial time and member."""
        seed = derive_seed(self.perturbation.seed, "perturbation", str(time), member)
        generator = np.random.default_rng(seed)
        if self.waves is None:
            white = generator.standard_normal((channels, *self.grid), np.float32)
            return torch.from_numpy(white).to(self.device)
        amplitudes = generator.standard_normal((2, channels, WAVES), np.float32) / np.sqrt(np.float32(WAVES))
        cosines, sines = torch.from_numpy(amplitudes).to(self.device)
        field = torch.empty(channels, len(self.points), device=self.device)
        for begin in range(0, len(self.points), BLOCK_POINTS):
            block = slice(begin, begin + BLOCK_POINTS)
            phase = self.points[block] @ self.waves
            field[:, block] = cosines @ phase.cos().T + sines @ phase.sin().T
        return field.reshape(channels, *self.grid)

    def perturbed(
        self, states: torch.Tensor, scale: torch.Tensor, times: Sequence[np.datetime64], members: Sequence[int]
    ) -> torch.Tensor:
        """States of perturbed members, the same noise on all states of a sequence, so that they keep their tendencies.

        Args:
            states: [initial, time, channel, lat, lon] in physical units.
            scale: [channel] that the amplitude is relative to.
            times: [initial].
            members: numbers in the ensemble; 0 is the control, which is not perturbed.

        Returns:
            [initial x member, time, channel, lat, lon], members next to one another.
        """
        rows = []
        size = (self.perturbation.amplitude * scale)[:, None, None]
        for state, time in zip(states, times, strict=True):
            for member in members:
                noise = 0.0 if member == 0 else self.draw(time, member, state.shape[1]) * size
                rows.append(state + noise)
        return torch.stack(rows)
