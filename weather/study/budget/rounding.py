"""How hours become epochs and time limits: what fits is rounded down, what is asked of SLURM is rounded up."""

from __future__ import annotations

import math

#: 0.7 h hold seven epochs of 6 minutes, though 0.7 * 60 / 6 in binary is not 7.
TOLERANCE = 1e-9
RULE = "epochs that fit are rounded down, time limits up to whole minutes"


def epochs_within(hours: float, seconds_per_epoch: float) -> int:
    """Whole epochs that fit."""
    return math.floor(hours * 3600 / seconds_per_epoch * (1 + TOLERANCE))


def minutes_up(hours: float) -> int:
    """Whole minutes that hold so many hours."""
    return max(1, math.ceil(hours * 60 * (1 - TOLERANCE)))


def parts(whole: float, part: float) -> int:
    """How many parts of that size make up the whole, the last one perhaps shorter."""
    return max(1, math.ceil(whole / part * (1 - TOLERANCE)))


def time_limit(minutes: int) -> str:
    """A duration as sbatch reads it, hours:minutes:seconds."""
    return f"{minutes // 60}:{minutes % 60:02d}:00"
