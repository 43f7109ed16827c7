"""Archives of random numbers: as large as real ones, and as fast to write as the disk allows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from weather.data.statistics import Statistics, write_statistics
from weather.data.year_file import create_year_file, default_latitude, default_longitude

STEP_HOURS = 6.0
LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": "state"},
    "gzip": {"chunks": "state", "compression": "gzip"},
}


def write_random_states(path: Path, *, states: int, channels: int, grid: tuple[int, int], layout: str) -> None:
    """A year file of standard normal numbers.

    Args:
        layout: of `LAYOUTS`.
    """
    options = LAYOUTS[layout]
    generator = np.random.default_rng(0)
    with create_year_file(
        path,
        states=states,
        channels=[f"channel_{c}" for c in range(channels)],
        latitude=default_latitude(grid[0]),
        longitude=default_longitude(grid[1]),
        time_hours=np.arange(states) * STEP_HOURS,
        chunks=(1, channels, *grid) if "chunks" in options else None,
        compression=options.get("compression"),
    ) as fields:
        for state in range(states):
            fields[state] = generator.standard_normal((channels, *grid), dtype=np.float32)


def write_random_archive(folder: Path, splits: Mapping[str, int], *, channels: int, grid: tuple[int, int]) -> None:
    """An archive with a contiguous year file a split and the statistics of standard normal numbers.

    Args:
        splits: states by name of the split.
    """
    for name, states in splits.items():
        write_random_states(folder / name / "year.h5", states=states, channels=channels, grid=grid, layout="contiguous")
    write_statistics(folder, Statistics(np.zeros(channels, np.float32), np.ones(channels, np.float32)))
