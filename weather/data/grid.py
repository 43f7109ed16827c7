"""Cells of a grid: where they end, what they share with those of another grid, and which whole factors coarsen it."""

from __future__ import annotations

import numpy as np

POLE_TOLERANCE = 1e-3  # degrees between a row and the pole that it stands on
NO_OVERLAP = 1e-9  # share of a coarse cell below which a fine one only touches it
EXTENT = ("first and last latitude", "first and last longitude")


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


def extent(latitude: np.ndarray, longitude: np.ndarray) -> dict[str, list[float]]:
    """First and last row and column in degrees: with their number, they tell a grid from a turned or shifted one.

    Rounded from single precision, for files keep them with different precision.
    """
    ends = (np.asarray(axis, np.float32).astype(np.float64)[[0, -1]].round(2) + 0.0 for axis in (latitude, longitude))
    return {name: end.tolist() for name, end in zip(EXTENT, ends, strict=True)}


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


def row_area_weights(fine: np.ndarray, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows lie under each row of a coarser grid that runs the same way, and their shares of its area.

    First-order conservative remapping (Jones 1999, eq. 7) along meridians, where area goes with the sine of latitude.

    Returns:
        Rows [terms, coarse lat], and weights [terms, coarse lat] float64 with sum 1 over the terms.
    """
    edges, coarse_edges = (np.sort(np.sin(np.deg2rad(latitude_edges(rows)))) for rows in (fine, coarse))
    overlap = _overlap(edges, coarse_edges)
    return _terms(overlap[::-1, ::-1] if fine[0] > fine[-1] else overlap)


def column_area_weights(fine: np.ndarray, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same along a circle of latitude, for ascending longitudes that go around the globe.

    Returns:
        Columns [terms, coarse lon], and weights [terms, coarse lon] float64 with sum 1 over the terms.
    """
    edges, coarse_edges = _longitude_edges(fine), _longitude_edges(coarse)
    # Three turns of the fine circle hold every coarse cell in one piece.
    turns = np.concatenate([edges[:-1] - 360.0, edges[:-1], edges + 360.0])
    columns, weights = _terms(_overlap(turns, coarse_edges))
    return columns % len(fine), weights


def _longitude_edges(longitude: np.ndarray) -> np.ndarray:
    """Edges [lon + 1] midway between ascending longitudes that go around the globe."""
    around = np.concatenate([[longitude[-1] - 360.0], longitude, [longitude[0] + 360.0]])
    return (around[1:] + around[:-1]) / 2


def _overlap(edges: np.ndarray, coarse_edges: np.ndarray) -> np.ndarray:
    """[coarse, fine] length that cells with ascending edges have in common."""
    upper = np.minimum(edges[None, 1:], coarse_edges[1:, None])
    return np.maximum(upper - np.maximum(edges[None, :-1], coarse_edges[:-1, None]), 0.0)


def _terms(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fine cells [terms, coarse] of each coarse one, which lie side by side, and their shares [terms, coarse]."""
    share = overlap / overlap.sum(axis=1, keepdims=True)
    share[share < NO_OVERLAP] = 0.0
    share /= share.sum(axis=1, keepdims=True)
    first, terms = np.argmax(share > 0, axis=1), int((share > 0).sum(axis=1).max())
    # A coarse cell short of terms repeats one of its own with weight 0: another's might not be finite.
    last = first + (share > 0).sum(axis=1) - 1
    cells = first + np.arange(terms)[:, None]
    weights = np.where(cells <= last, np.take_along_axis(share, np.minimum(cells, last).T, axis=1).T, 0.0)
    return np.minimum(cells, last), weights
