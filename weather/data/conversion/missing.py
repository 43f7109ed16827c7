"""What is done where a value is missing: refused with its place, or filled by a rule."""

from __future__ import annotations

import numpy as np

from weather.data.conversion.regridding import Grid
from weather.data.grid import latitude_edges
from weather.errors import ConfigError, DataError

MASKS_KEPT = 8  # different masks whose nearest points are remembered; a land mask is one


class Filler:
    """Fills missing values of single fields by a rule.

    Args:
        rule: ``refuse``, ``mean`` (area mean of the field's other values), ``nearest`` (the nearest value on the
            sphere), or a number.
        grid: of the fields.
    """

    def __init__(self, rule: str, grid: Grid) -> None:
        self.rule = rule
        self.grid = grid
        edges = np.sin(np.deg2rad(latitude_edges(grid.latitude)))
        self._area = np.abs(np.diff(edges))[:, None]
        self._nearest: dict[bytes, np.ndarray] = {}

    def can_fill(self, field: np.ndarray) -> bool:
        """Whether the rule can fill the missing values of a field [lat, lon]."""
        if self.rule in ("mean", "nearest"):
            return bool(np.isfinite(field).any())
        return self.rule != "refuse"

    def fill(self, field: np.ndarray) -> None:
        """Fill a field [lat, lon] in place; `can_fill` has said yes."""
        missing = np.isnan(field)
        if self.rule == "mean":
            weights = np.where(missing, 0.0, self._area)
            field[missing] = (np.where(missing, 0.0, field) * weights).sum() / weights.sum()
        elif self.rule == "nearest":
            field[missing] = field.reshape(-1)[self._nearest_points(missing)]
        else:
            field[missing] = float(self.rule)

    def _nearest_points(self, missing: np.ndarray) -> np.ndarray:
        """For each missing point the number of the nearest other one; by chord, which orders as the arc does."""
        key = np.packbits(missing).tobytes()
        if key not in self._nearest:
            try:
                from scipy.spatial import cKDTree
            except ImportError as error:
                raise ConfigError(
                    "the package scipy is missing", where="--fill nearest", fix="pip install scipy"
                ) from error

            latitude, longitude = np.deg2rad(self.grid.latitude)[:, None], np.deg2rad(self.grid.longitude)[None]
            points = np.stack(np.broadcast_arrays(np.cos(latitude) * np.cos(longitude),
                                                  np.cos(latitude) * np.sin(longitude), np.sin(latitude)), axis=-1)  # fmt: skip
            there = np.flatnonzero(~missing.reshape(-1))
            tree = cKDTree(points[~missing])
            if len(self._nearest) >= MASKS_KEPT:
                self._nearest.pop(next(iter(self._nearest)))
            self._nearest[key] = there[tree.query(points[missing])[1]]
        return self._nearest[key]


def refuse(
    field: np.ndarray, latitude: np.ndarray, longitude: np.ndarray, where: str, *, kept_missing: bool
) -> DataError:
    """The error of a field [lat, lon] with a value that is not finite.

    Args:
        kept_missing: the values may be missing, and only infinite ones are refused.
    """
    wrong = np.isinf(field) if kept_missing else ~np.isfinite(field)
    row, column = np.argwhere(wrong)[0].tolist()
    place = f"latitude {latitude[row]:g}, longitude {longitude[column]:g}"
    if np.isinf(field[row, column]):
        return DataError(f"an infinite value at {place}", where=where, rule="every value of a state is finite",
                         fix="repair the source, or leave the variable or the year out")  # fmt: skip
    return DataError(
        f"{int(np.isnan(field).sum())} of {field.size} values are missing, the first at {place}",
        where=where,
        rule="every value of a state is finite",
        fix="fill them (--fill mean, nearest or a number), or leave such states out as gaps (--drop_missing)",
    )
