"""The grid of the archive: rows from north to south, columns from west to east, and how a source's are put there.

Rows run from north to south as in ERA5, whichever way the source has them. Columns of a global grid begin with the
first at or east of the Greenwich meridian and stay within 0 to 360 degrees; those of a region keep their own degrees,
so that a region across the meridian stays in one piece. A column that repeats another (cyclic point) is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from weather.data.conversion.holdings import Holding
from weather.errors import DataError

SAME_DEGREES = 2e-3  # two points closer than this are one: coordinates are often rounded to three digits
GLOBAL_GAP = 1.5  # a circle of longitudes has no gap above this many steps


@dataclass(frozen=True)
class Arrangement:
    """How a source's rows and columns become those of the archive, before any regridding.

    Attributes:
        latitude, longitude: degrees, of the archive.
        rows, columns: index in the source of each row and column.
        source_grid: rows and columns of the source.
        is_global: longitudes go around the globe.
    """

    latitude: np.ndarray = field(compare=False)
    longitude: np.ndarray = field(compare=False)
    rows: np.ndarray = field(compare=False)
    columns: np.ndarray = field(compare=False)
    source_grid: tuple[int, int]
    is_global: bool
    notes: tuple[str, ...] = ()

    @property
    def grid(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)


def arrange(latitude: np.ndarray, longitude: np.ndarray, where: str) -> Arrangement:
    """Order of rows and columns.

    Raises:
        DataError: latitudes are out of range or there twice, or there are fewer than two rows or columns.
    """
    if len(latitude) < 2 or len(longitude) < 2:
        raise DataError(f"a grid of {len(latitude)} x {len(longitude)} points", where=where,
                        rule="at least two latitudes and two longitudes")  # fmt: skip
    if np.abs(latitude).max() > 90 + SAME_DEGREES:
        raise DataError(f"a latitude of {latitude[np.argmax(np.abs(latitude))]:g} degrees", where=where,
                        rule="latitudes are within -90 to 90")  # fmt: skip
    notes = []
    rows = np.argsort(-latitude, kind="stable")
    sorted_latitude = latitude[rows]
    if np.diff(sorted_latitude).max() > -SAME_DEGREES / 10:
        twice = sorted_latitude[int(np.argmax(np.diff(sorted_latitude)))]
        raise DataError(f"the latitude {twice:g} is there twice", where=where, fix="drop one of the rows")
    if rows[0] != 0:
        notes.append("rows are turned to run from north to south")
    circle = np.round(np.mod(longitude, 360.0), 9)  # -179.6 + 360 is 1e-12 beside 180.4
    circle[circle > 360.0 - SAME_DEGREES / 10] = 0.0
    order = np.argsort(circle, kind="stable")
    repeated = np.diff(circle[order]) < SAME_DEGREES / 10
    if repeated.any():
        # Of two columns at one place the one that comes first in the source stays.
        order = np.array(
            [column for column, again in zip(order, [False, *repeated.tolist()], strict=True) if not again]
        )
        notes.append(f"{int(repeated.sum())} repeated column(s) are dropped (cyclic point)")
    ring = circle[order]
    steps = np.diff(np.concatenate([ring, [ring[0] + 360.0]]))
    usual = float(np.median(steps))
    is_global = bool(steps.max() <= GLOBAL_GAP * usual)
    if is_global:
        columns, degrees_east = order, ring
        if not np.allclose(longitude[columns], ring) and len(columns) == len(longitude):
            notes.append("columns are turned to run from 0 to 360 degrees east")
    else:
        # A region begins after the widest gap of the circle.
        first = (int(np.argmax(steps)) + 1) % len(order)
        columns = np.roll(order, -first)
        degrees_east = np.unwrap(circle[columns], period=360.0)
        degrees_east += np.rint((longitude[columns[0]] - degrees_east[0]) / 360.0) * 360.0
        degrees_east = np.round(degrees_east, 9) + 0.0  # unwrapping leaves 1e-12 beside 0
        notes.append(f"the grid is a region: {sorted_latitude[-1]:g} to {sorted_latitude[0]:g} degrees north, "
                     f"{degrees_east[0]:g} to {degrees_east[-1]:g} degrees east")  # fmt: skip
    return Arrangement(sorted_latitude, degrees_east, rows, columns, (len(latitude), len(longitude)), is_global,
                       tuple(notes))  # fmt: skip


def common_arrangements(holdings: Sequence[Holding]) -> dict[tuple[int, int], Arrangement]:
    """Arrangement of each pair of coordinate arrays (by identity), after which all grids are the same.

    Raises:
        DataError: two grids differ; names both.
    """
    known: dict[tuple[int, int], Arrangement] = {}
    first: tuple[Holding, Arrangement] | None = None
    for holding in holdings:
        key = grid_key(holding)
        if key in known:
            continue
        known[key] = arrange(holding.latitude, holding.longitude, holding.where)
        if first is None:
            first = holding, known[key]
        elif not same_grid(first[1], known[key]):
            raise DataError(
                f"its grid is {describe_grid(known[key])}, but {describe_grid(first[1])} in {first[0].where}",
                where=holding.where,
                rule="all fields of an archive lie on one grid",
                fix="convert them apart, or put them on one grid first",
            )
    return known


def grid_key(holding: Holding) -> tuple[int, int]:
    """What holdings with the same coordinate arrays share."""
    return id(holding.latitude), id(holding.longitude)


def same_grid(one: Arrangement, other: Arrangement) -> bool:
    return one.grid == other.grid and bool(
        np.allclose(one.latitude, other.latitude, atol=SAME_DEGREES)
        and np.allclose(one.longitude, other.longitude, atol=SAME_DEGREES)
    )


def describe_grid(grid: Arrangement) -> str:
    """Points and extent, for messages."""
    return (
        f"{grid.grid[0]} x {grid.grid[1]} ({grid.latitude[0]:g} to {grid.latitude[-1]:g} north, "
        f"{grid.longitude[0]:g} to {grid.longitude[-1]:g} east)"
    )
