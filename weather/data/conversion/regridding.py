"""From the grid of a source to that of the archive: reordered, area-averaged where coarser, interpolated where finer.

Along each axis for itself: an axis that becomes coarser takes the mean over the area of the new cells (first-order
conservative remapping, `weather.data.grid`), one that becomes finer is interpolated linearly, beyond the outermost
rows with the value of that row. A new cell is missing if more than half of its weight is; otherwise it is the mean of
the rest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from weather.data.conversion.horizontal import Arrangement
from weather.data.grid import column_area_weights, has_both_poles, row_area_weights
from weather.data.year_file import default_latitude, default_longitude
from weather.errors import ConfigError

MOST_POINTS = 2**16  # of an axis: finer than any global field
LEAST_WEIGHT = 0.5  # of a new cell that must be there


@dataclass(frozen=True)
class Grid:
    """Latitudes from north to south and longitudes from west to east, in degrees."""

    latitude: np.ndarray = field(compare=False)
    longitude: np.ndarray = field(compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)


def target_grid(resolution: str, source: Arrangement) -> Grid:
    """The grid of the archive: the source's own, ``1.5`` degrees, or ``121x240`` points.

    Degrees give rows on both poles if the source has them, else rows in the middle of cells; points give poles if
    the count of rows is odd.

    Raises:
        ConfigError: it cannot be understood, or the source is a region.
    """
    if not resolution:
        return Grid(source.latitude, source.longitude)
    rule = "degrees that divide 180 and 360 (1.5), or rows x columns (121x240)"
    points = re.fullmatch(r"(\d+)x(\d+)", resolution)
    try:
        if points:
            rows, columns = int(points[1]), int(points[2])
        else:
            step = float(resolution)
            rows, columns = round(180.0 / step), round(360.0 / step)
            if abs(rows * step - 180.0) > 1e-6 or abs(columns * step - 360.0) > 1e-6:
                raise ConfigError(f"{resolution!r}", where="--resolution", rule=rule)
            rows += has_both_poles(source.latitude)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ConfigError(f"{resolution!r}", where="--resolution", rule=rule)
    if not (2 <= rows <= MOST_POINTS and 2 <= columns <= MOST_POINTS):
        raise ConfigError(f"{rows} x {columns} points", where="--resolution", rule=f"2 to {MOST_POINTS} of each")
    spans_globe = np.abs(source.latitude[[0, -1]]).min() + 1.5 * abs(source.latitude[0] - source.latitude[1]) >= 90.0
    if not source.is_global or not spans_globe:
        raise ConfigError("the sources cover a region", where="--resolution",
                          rule="only global grids are brought to another resolution", fix="leave it out")  # fmt: skip
    latitude = np.linspace(90.0, -90.0, rows) if rows % 2 or (not points and has_both_poles(source.latitude)) else (
        default_latitude(rows))  # fmt: skip
    return Grid(latitude, default_longitude(columns))


class Regridder:
    """Brings fields of one source grid to the grid of the archive.

    Args:
        arrangement: of the source.
        grid: of the archive.
    """

    def __init__(self, arrangement: Arrangement, grid: Grid) -> None:
        self.shape = grid.shape
        self.regrids = grid.latitude is not arrangement.latitude and not (
            grid.shape == arrangement.grid
            and np.allclose(grid.latitude, arrangement.latitude, atol=2e-3)
            and np.allclose(grid.longitude, arrangement.longitude, atol=2e-3)
        )
        self.row_runs, self.column_runs = _runs(arrangement.rows), _runs(arrangement.columns)
        plain = all(runs == [(0, slice(0, size))] for runs, size in
                    ((self.row_runs, self.shape[0]), (self.column_runs, self.shape[1])))  # fmt: skip
        self.keeps = not self.regrids and plain and arrangement.source_grid == self.shape
        if self.regrids:
            rows, self.row_weights = _weights(arrangement.latitude, grid.latitude, around=False)
            columns, self.column_weights = _weights(arrangement.longitude, grid.longitude, around=True)
            self.rows, self.columns = arrangement.rows[rows], arrangement.columns[columns]

    def apply(self, fields: np.ndarray, out: np.ndarray) -> None:
        """Write `fields` [..., source lat, source lon] into `out` [..., lat, lon], both float32."""
        if not self.regrids:
            for row, source_rows in self.row_runs:
                height = len(range(*source_rows.indices(fields.shape[-2])))
                for column, source_columns in self.column_runs:
                    width = len(range(*source_columns.indices(fields.shape[-1])))
                    np.copyto(out[..., row : row + height, column : column + width],
                              fields[..., source_rows, source_columns])  # fmt: skip
            return
        if np.isfinite(fields.sum()):
            self._mix(fields, out)
            return
        there = np.isfinite(fields)
        self._mix(np.where(there, fields, np.float32(0)), out)
        weight = np.empty_like(out)
        self._mix(there.astype(np.float32), weight)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(out, weight, out=out)
        out[weight < LEAST_WEIGHT - 1e-6] = np.nan

    def _mix(self, fields: np.ndarray, out: np.ndarray) -> None:
        mixed: np.ndarray | None = None
        for rows, weights in zip(self.rows, self.row_weights, strict=True):
            term = np.take(fields, rows, axis=-2)
            term *= weights[:, None]
            mixed = term if mixed is None else np.add(mixed, term, out=mixed)
        assert mixed is not None
        for number, (columns, weights) in enumerate(zip(self.columns, self.column_weights, strict=True)):
            term = np.take(mixed, columns, axis=-1)
            term *= weights
            if number:
                out += term
            else:
                np.copyto(out, term)


def _runs(index: np.ndarray) -> list[tuple[int, slice]]:
    """(first place, slice of the source) of runs of an index that go up or down by one."""
    runs, begin = [], 0
    while begin < len(index):
        step = int(index[begin + 1] - index[begin]) if begin + 1 < len(index) else 1
        end = begin + 1
        while step in (1, -1) and end < len(index) and index[end] - index[end - 1] == step:
            end += 1
        step = step if step in (1, -1) else 1
        stop = int(index[end - 1]) + step
        runs.append((begin, slice(int(index[begin]), stop if stop >= 0 else None, step if step < 0 else None)))
        begin = end
    return runs


def _weights(source: np.ndarray, target: np.ndarray, *, around: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points [terms, target] of the source, and their weights float32."""
    coarser = np.abs(np.diff(target)).mean() >= np.abs(np.diff(source)).mean() * (1 - 1e-6)
    if coarser:
        points, weights = (column_area_weights if around else row_area_weights)(source, target)
    else:
        points, weights = _linear(source, target, around=around)
    return points, weights.astype(np.float32)


def _linear(source: np.ndarray, target: np.ndarray, *, around: bool) -> tuple[np.ndarray, np.ndarray]:
    """The two neighbours of each target point and their weights; the outermost point alone beyond it."""
    if around:
        extended = np.concatenate([[source[-1] - 360.0], source, [source[0] + 360.0]])
        number = np.concatenate([[len(source) - 1], np.arange(len(source)), [0]])
        wanted = np.where(target < extended[0], target + 360.0, target)
        wanted = np.where(wanted > extended[-1], wanted - 360.0, wanted)
    else:
        extended, number, wanted = -source, np.arange(len(source)), -target
    left = np.clip(np.searchsorted(extended, wanted, side="right") - 1, 0, len(extended) - 2)
    share = np.clip((wanted - extended[left]) / (extended[left + 1] - extended[left]), 0.0, 1.0)
    return number[np.stack([left, left + 1])], np.stack([1.0 - share, share])
