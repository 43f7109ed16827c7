"""Cells of a grid: where they end, and how many latitudes a whole factor leaves."""

from __future__ import annotations

import numpy as np

POLE_TOLERANCE = 1e-3  # degrees between a row and the pole that it stands on


def latitude_edges(latitude: np.ndarray) -> np.ndarray:
    """Edges [lat + 1] in degrees of the cells of at least two latitude rows, in their order.

    Cells end midway between rows (WeatherBench 2). The outermost cells of a global grid end at the pole, be there a
    row on it or not; those of a region end half a step out. Works either way round.
    """
    middle = (latitude[1:] + latitude[:-1]) / 2
    first, last = (_outer_edge(end, inner) for end, inner in ((latitude[0], latitude[1]), (latitude[-1], latitude[-2])))
    return np.concatenate([[first], middle, [last]])


def _outer_edge(end: float, inner: float) -> float:
    step = end - inner
    if 90.0 - abs(end) < abs(step) and np.sign(end) == np.sign(step):
        return float(90.0 * np.sign(step))
    return float(np.clip(end + step / 2, -90.0, 90.0))


def has_both_poles(latitude: np.ndarray) -> bool:
    """Whether the outermost rows are the poles themselves, as in grids of 721 rows."""
    return bool(np.abs(np.abs(latitude[[0, -1]]) - 90.0).max() < POLE_TOLERANCE) and len(latitude) > 2


def valid_factors(latitude: np.ndarray, longitude: np.ndarray) -> list[int]:
    """Whole factors by which a grid can be coarsened, 1 among them.

    A factor divides the longitudes. It divides the latitudes too, or, where both poles are rows, the steps between
    them, so that the coarse grid has both poles again (721 rows: 361, 181, ...). At least two rows are left.
    """
    rows = len(latitude) - has_both_poles(latitude)
    return [f for f in range(1, max(1, rows // 2) + 1) if rows % f == 0 and len(longitude) % f == 0]
