"""Spherical harmonics in triangular truncation: from coefficients to any grid, and from the Gaussian grid back.

A real field on the sphere is the sum over zonal wavenumbers m and total wavenumbers n, with mu = sin(latitude):

    g(longitude, mu) = sum c[m, n] P[m, n](mu) exp(i m longitude),    |m| <= n <= truncation

P are the associated Legendre functions normalised to unit square integral over mu. Winds come from a
streamfunction psi by u = -dpsi/dy and v = dpsi/dx, and the divergence of a flux is integrated by parts, so that no
derivative is taken on the grid (Hoskins & Simmons 1975, "A multi-layer spectral model and the semi-implicit method",
Q. J. R. Meteorol. Soc. 101; Bourke 1972, "An efficient, one-level, primitive-equation spectral model").

Layout: coefficients are real arrays [m, part, ..., n] with part 0 the real and part 1 the imaginary part (m >= 0
only: the field is real), fields are [..., lat, lon]. So both halves of a transform, over latitude and over longitude,
are plain matrix products with no copy between them. With few wavenumbers kept (32 of 48 on the model's own grid, 32 of
720 on a quarter-degree grid) the product over longitude is faster than a fast Fourier transform, and it samples at any
longitudes. It is taken field by field: so small a product (T31) OpenBLAS leaves to one thread, where waiting for a
second one on a busy machine costs many times the work.
"""

from __future__ import annotations

import numpy as np

# Winds divide by cos(latitude), which vanishes at the poles; the limit exists (only m = 1 has one that is not zero)
# and is taken this close to the pole, 110 m away, in double precision.
HIGHEST_LATITUDE = 89.999


def legendre_functions(sine: np.ndarray, truncation: int) -> tuple[np.ndarray, np.ndarray]:
    """P [m, n, lat] and (1 - mu^2) dP/dmu [m, n, lat] at mu = `sine` [lat], in float64, zero where n < m.

    The recurrences in n are those of Hoskins & Simmons (1975), appendix; `recurrence_factors` are their epsilon.
    """
    count = truncation + 1
    values = np.zeros((count, count + 1, len(sine)))  # one n more than kept: the derivative of the last needs it
    cosine = np.sqrt(1.0 - sine**2)
    epsilon = recurrence_factors(count)
    sectoral = np.full(len(sine), np.sqrt(0.5))  # n = m
    for m in range(count):
        if m:
            sectoral = sectoral * cosine * np.sqrt((2 * m + 1) / (2 * m))
        values[m, m] = sectoral
        for n in range(m + 1, count + 1):
            below = epsilon[m, n - 1] * values[m, n - 2] if n > m + 1 else 0.0
            values[m, n] = (sine * values[m, n - 1] - below) / epsilon[m, n]
    n_Ln = np.arange(count)[:, None]
    derivative = -n_Ln * epsilon[:count, 1:, None] * values[:, 1:]
    derivative[:, 1:] += (n_Ln[1:] + 1) * epsilon[:count, 1:count, None] * values[:, : count - 1]
    return values[:, :count], derivative


def recurrence_factors(truncation: int) -> np.ndarray:
    """epsilon [m, n] of mu P[m, n] = epsilon[m, n + 1] P[m, n + 1] + epsilon[m, n] P[m, n - 1]; zero where n <= m."""
    n = np.arange(truncation + 1.0)
    m = n[:, None]
    return np.sqrt(np.maximum(n**2 - m**2, 0.0) / np.maximum(4.0 * n**2 - 1.0, 1.0))


def times_i(coefficients: np.ndarray) -> np.ndarray:
    """i times `coefficients` [m, part, ..., n]."""
    return np.stack((-coefficients[:, 1], coefficients[:, 0]), axis=1)


def _single(table: np.ndarray) -> np.ndarray:
    """float32, without the tiny values near the poles: they add nothing, and denormal products are slow."""
    return np.where(np.abs(table) < 1e-12 * np.abs(table).max(), 0.0, table).astype(np.float32)


class Synthesis:
    """Coefficients to fields on a grid.

    Args:
        truncation: highest wavenumber kept.
        latitude: [lat] degrees north, in any order; poles are allowed.
        longitude: [lon] degrees east.
        radius: of the sphere, in metres.
    """

    def __init__(self, truncation: int, latitude: np.ndarray, longitude: np.ndarray, radius: float) -> None:
        latitude = np.deg2rad(np.clip(latitude, -HIGHEST_LATITUDE, HIGHEST_LATITUDE))
        values, derivative = legendre_functions(np.sin(latitude), truncation)
        metres = radius * np.cos(latitude)
        m = np.arange(truncation + 1)
        self._scalar = _single(values)  # [m, n, lat], as are the next two
        self._eastward = _single(-derivative / metres)
        self._northward = _single(m[:, None, None] * values / metres)
        angle = m[:, None] * np.deg2rad(longitude)
        waves = np.stack((np.cos(angle), -np.sin(angle)), axis=1)  # [m, part, lon]
        waves[1:] *= 2.0  # m and -m together
        self._waves = waves.reshape(-1, len(longitude)).astype(np.float32)

    def scalar(self, coefficients: np.ndarray) -> np.ndarray:
        """The field [..., lat, lon] with these `coefficients` [m, part, ..., n]."""
        return self._to_grid(coefficients, self._scalar)

    def eastward_wind(self, streamfunction: np.ndarray) -> np.ndarray:
        """u [..., lat, lon] in m/s of a `streamfunction` [m, part, ..., n] in m^2/s."""
        return self._to_grid(streamfunction, self._eastward)

    def northward_wind(self, streamfunction: np.ndarray) -> np.ndarray:
        """v [..., lat, lon] in m/s of a `streamfunction` [m, part, ..., n] in m^2/s."""
        return self._to_grid(times_i(streamfunction), self._northward)

    def _to_grid(self, coefficients: np.ndarray, table: np.ndarray) -> np.ndarray:
        count, rows, columns = len(table), table.shape[2], self._waves.shape[1]
        along_latitude = coefficients.reshape(count, -1, count) @ table  # [m, part x field, lat]
        waves = along_latitude.reshape(2 * count, -1, rows)  # [m x part, field, lat]
        fields = waves.transpose(1, 2, 0) @ self._waves
        return fields.reshape(*coefficients.shape[2:-1], rows, columns)


class GaussianTransform(Synthesis):
    """Both ways between coefficients and the Gaussian grid on which products of two fields are free of aliasing."""

    def __init__(self, truncation: int, radius: float) -> None:
        rows = (3 * truncation + 1) // 2
        rows += rows % 2
        columns = 2 * rows
        self.sine, weight = np.polynomial.legendre.leggauss(rows)
        self.longitude = np.arange(columns) * 360.0 / columns
        self.latitude = np.rad2deg(np.arcsin(self.sine))
        super().__init__(truncation, self.latitude, self.longitude, radius)
        m = np.arange(truncation + 1)
        angle = m[:, None] * np.deg2rad(self.longitude)
        waves = np.stack((np.cos(angle), -np.sin(angle)), axis=1) / columns
        self._waves_back = waves.reshape(-1, columns).astype(np.float32)  # [m x part, lon]
        self._scalar_back, self._eastward_back, self._northward_back = (
            np.ascontiguousarray((table * weight).transpose(0, 2, 1)).astype(np.float32)  # [m, lat, n]
            for table in (self._scalar, self._eastward, self._northward)
        )

    def coefficients(self, field: np.ndarray) -> np.ndarray:
        """Coefficients [m, part, ..., n] of a `field` [..., lat, lon]."""
        return self._to_coefficients(self._waves_of(field), self._scalar_back)

    def divergence(self, eastward: np.ndarray, northward: np.ndarray) -> np.ndarray:
        """Coefficients [m, part, ..., n] of the divergence of a flux, both components [..., lat, lon]."""
        along = self._to_coefficients(self._waves_of(eastward), self._northward_back)
        return times_i(along) + self._to_coefficients(self._waves_of(northward), self._eastward_back)

    def _waves_of(self, field: np.ndarray) -> np.ndarray:
        """Fourier coefficients [m, part, ..., lat] of a `field` [..., lat, lon]."""
        fields = field.reshape(-1, *field.shape[-2:])
        waves = np.empty((len(self._waves_back), *fields.shape[:2]), np.float32)  # [m x part, field, lat]
        np.matmul(self._waves_back, fields.transpose(0, 2, 1), out=waves.transpose(1, 0, 2))
        return waves.reshape(-1, 2, *field.shape[:-1])

    def _to_coefficients(self, waves: np.ndarray, table: np.ndarray) -> np.ndarray:
        count = len(table)
        flat = waves.reshape(count, -1, waves.shape[-1]) @ table
        return flat.reshape(*waves.shape[:-1], count)
