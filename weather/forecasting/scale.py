"""What noise is relative to: how much a channel varies at all, or how much it changes within one forecast."""

from __future__ import annotations

import json

import numpy as np

from weather.data.archive import Archive
from weather.errors import ConfigError

SCALES = ("state", "difference")


def perturbation_scale(archive: Archive, scale: str, dt: int) -> np.ndarray:
    """Standard deviation [channel] of the states, or of their differences over `dt` time steps.

    Raises:
        ConfigError: the archive's statistics have no such differences.
    """
    if scale == "state":
        return archive.statistics.stds.astype(np.float64)
    path = archive.data_dir / "stats" / "statistics.json"
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        found = {channel["name"]: float(channel["std"]) for channel in written["differences"][str(dt)]["channels"]}
        return np.array([found[channel] for channel in archive.channels])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"--perturbation_scale {scale}: no differences over {dt} time step(s)",
            where=path,
            rule="the statistics of the archive say how much each channel changes",
            fix=f"compute them: python -m weather.statistics {archive.data_dir}, or use --perturbation_scale state",
        ) from error
