"""Regions of the globe that scores are made for, by the bounds of WeatherBench 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from weather.errors import ConfigError, did_you_mean

TROPICS_EDGE = 20.0  # degrees; rows on it belong to both sides, as in WeatherBench 2

#: Which latitude rows [lat] a region has (WeatherBench 2, scripts/evaluate.py: slices that include their ends).
REGIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "global": lambda latitude: np.ones(len(latitude), bool),
    "tropics": lambda latitude: np.abs(latitude) <= TROPICS_EDGE,
    "extratropics": lambda latitude: np.abs(latitude) >= TROPICS_EDGE,
    "northern_extratropics": lambda latitude: latitude >= TROPICS_EDGE,
    "southern_extratropics": lambda latitude: latitude <= -TROPICS_EDGE,
}


def region_rows(latitude: np.ndarray, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Numbers of the rows of each region that the grid reaches, `global` first: that is all rows of the grid.

    Args:
        latitude: [lat] in degrees.
        names: wanted regions; None: all that have rows.

    Raises:
        ConfigError: an unknown region, or one that the grid does not reach.
    """
    for name in names or ():
        if name not in REGIONS:
            raise ConfigError(
                f"'{name}' is no region",
                where="--regions",
                rule=f"the regions are {', '.join(REGIONS)}",
                fix=did_you_mean(name, REGIONS),
            )
    rows = {name: np.flatnonzero(has(latitude)) for name, has in REGIONS.items()}
    missing = [name for name in names or () if not rows[name].size]
    if missing:
        raise ConfigError(
            f"the grid has no row in {' and '.join(missing)}",
            where="--regions",
            rule=f"its rows lie between {latitude.min():g} and {latitude.max():g} degrees north",
        )
    wanted = set(REGIONS if names is None else names) | {"global"}
    return {name: found for name, found in rows.items() if found.size and name in wanted}
