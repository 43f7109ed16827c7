"""States on a coarser grid, made while they are read: one archive serves several resolutions.

The archive on disk stays as it is, and whole states are read from it, so that storage is as busy as on the full grid.
Means and standard deviations stay those of the full grid: they only set the unit of the loss, and with the same unit
losses at several resolutions can be compared. An area mean has lost the variance of the smallest scales, so its
standard scores vary a little less than 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from weather.config.schema import DataSection
from weather.data.grid import has_both_poles, row_area_weights, valid_factors
from weather.data.year_file import Header
from weather.errors import ConfigError

EQUAL_STEPS = 0.01  # largest relative difference of the steps between longitudes that counts as none


@dataclass(frozen=True, eq=False)
class Coarsening:
    """How fields of a grid become fields of a coarser one: a weighted sum of rows, then a mean of columns.

    Attributes:
        factor: whole.
        latitude, longitude: of the coarse grid, in degrees.
        rows: [terms, coarse lat] fine rows that a coarse row is made of.
        row_weights: [terms, coarse lat] float32, sum 1 over the terms.
        columns: fine columns within each `factor` of them whose mean is taken.
    """

    factor: int
    latitude: np.ndarray
    longitude: np.ndarray
    rows: np.ndarray
    row_weights: np.ndarray
    columns: tuple[int, ...]

    @property
    def grid(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)

    def apply(self, fields: np.ndarray, out: np.ndarray) -> None:
        """Coarsen `fields` [channel, lat, lon] into `out` [channel, coarse lat, coarse lon], both float32."""
        first, *others = self.columns
        for plane, coarse in zip(fields, out, strict=True):
            mixed = plane[self.rows[0]] * self.row_weights[0][:, None]
            for rows, weights in zip(self.rows[1:], self.row_weights[1:], strict=True):
                mixed += plane[rows] * weights[:, None]
            np.copyto(coarse, mixed[:, first :: self.factor])
            for column in others:
                coarse += mixed[:, column :: self.factor]
            if others:
                coarse *= np.float32(1 / len(self.columns))


def plan_coarsening(section: DataSection, header: Header) -> Coarsening | None:
    """What `data.coarsen` and `data.coarsen_by` mean on the grid of an archive; None where it stays as it is.

    - `area_mean`: each coarse cell has the mean over the area that it covers (first-order conservative remapping,
      Jones 1999, eq. 7): means over the globe are kept.
    - `bilinear`: values at the coarse points; what varies within a coarse cell is aliased.
    - `stride`: the grid point nearest to the middle of each block (of two, the first), as it is.

    Raises:
        ConfigError: the grid cannot be coarsened so; names the nearest factors that it can be coarsened by.
    """
    factor, latitude, longitude = section.coarsen, header.latitude, header.longitude
    if factor == 1:
        return None
    _check(factor, header)
    middle = tuple(sorted({(factor - 1) // 2, factor // 2}))
    columns = {"area_mean": tuple(range(factor)), "bilinear": middle, "stride": middle[:1]}[section.coarsen_by]
    blocks = _middles(_unbroken(longitude), columns, factor)
    # Back into the archive's own range, 0 to 360 or -180 to 180.
    coarse_longitude = np.where(blocks >= longitude.min() + 360.0, blocks - 360.0, blocks)
    kept = (0,) if has_both_poles(latitude) else middle[:1] if section.coarsen_by == "stride" else middle
    coarse_latitude = _middles(latitude, kept, factor)
    if section.coarsen_by == "area_mean":
        rows, weights = row_area_weights(latitude, coarse_latitude)
    else:
        rows = np.stack([np.arange(len(coarse_latitude)) * factor + row for row in kept])
        weights = np.full(rows.shape, 1 / len(kept))
    return Coarsening(factor, coarse_latitude, coarse_longitude, rows, weights.astype(np.float32), columns)


def _check(factor: int, header: Header) -> None:
    valid = valid_factors(header.latitude, header.longitude)
    if factor not in valid:
        near = [f for f in (max(f for f in valid if f < factor), min((f for f in valid if f > factor), default=0)) if f]
        both = has_both_poles(header.latitude)
        raise ConfigError(
            f"data.coarsen = {factor} on a grid of {header.grid[0]} x {header.grid[1]} points",
            where=header.path,
            rule="a factor divides the longitudes and "
            + (f"the {header.grid[0] - 1} steps between the poles" if both else "the latitudes"),
            fix=f"nearest valid: {' or '.join(map(str, near))}",
        )
    steps = np.diff(_unbroken(header.longitude))
    if np.ptp(steps) > EQUAL_STEPS * np.abs(steps).max():
        raise ConfigError(
            f"data.coarsen = {factor} on longitudes with steps from {steps.min():g} to {steps.max():g} degrees",
            where=header.path,
            rule="only equally spaced longitudes can be coarsened",
            fix="set data.coarsen=1",
        )


def _unbroken(longitude: np.ndarray) -> np.ndarray:
    """Longitudes that go on beyond 360 degrees or the date line instead of jumping back."""
    return np.unwrap(longitude, period=360.0)


def _middles(coordinate: np.ndarray, kept: tuple[int, ...], factor: int) -> np.ndarray:
    return np.mean([coordinate[point::factor] for point in kept], axis=0)
