"""What noise is relative to: how much a channel varies at all, or how much it changes within one forecast."""

from __future__ import annotations

import numpy as np

from weather.data.archive import Archive
from weather.data.statistics import read_difference_statistics


def perturbation_scale(archive: Archive, scale: str, steps: int) -> np.ndarray:
    """Standard deviation [channel] of states (`state`), or of their differences over some time steps (`difference`).

    Raises:
        DataError: the archive's statistics have no such differences.
    """
    if scale == "state":
        return archive.statistics.stds
    return read_difference_statistics(archive.data_dir, archive.channels, steps).stds
