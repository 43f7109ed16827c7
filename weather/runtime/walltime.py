"""When the job must be gone: the batch system's end of the job, or what the command line says.

A walltime is a property of a job, not of a run: a run of many jobs has one time budget and many walltimes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from weather.errors import ConfigError, LaunchError

END_TIME_VARIABLE = "SLURM_JOB_END_TIME"  # seconds since 1970, set by SLURM 22.05 and later


def parse_walltime(text: str) -> float:
    """Seconds from hours (``1.5``), ``H:MM:SS``, or with days ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``.

    All but the first are SLURM's. SLURM also reads ``2:00`` as two minutes, which many take for two hours: refused.

    Raises:
        ConfigError: it is none of these, or not more than 0.
    """
    days, dash, clock = text.strip().rpartition("-")
    seconds = 0.0
    minutes_alone = clock.count(":") == 1 and not dash
    if re.fullmatch(r"(\d+:){0,2}(\d+(\.\d*)?|\.\d+)", clock) and (not dash or days.isdecimal()) and not minutes_alone:
        values = [float(part) for part in clock.split(":")]
        hours, minutes, rest = values + [0.0] * (3 - len(values))
        seconds = float(days or 0) * 86400 + hours * 3600 + minutes * 60 + rest
    if seconds <= 0:
        raise ConfigError(
            f"--walltime {text!r}", rule="hours such as 1.5, or H:MM:SS, or D-HH:MM:SS as SLURM writes it, above 0"
        )
    return seconds


def find_deadline(
    walltime: str | None = None, began: float = 0.0, environment: Mapping[str, str] = os.environ
) -> float | None:
    """When the job must be gone, by `time.monotonic()`; None if nobody says so.

    Args:
        walltime: of the command line, counted from `began`.
        began: `time.monotonic()` of the start of the process.
        environment: may hold SLURM's end of the job; the earlier of the two counts. An end in the past is left aside:
            it is that of another job, whose shell has outlived it.

    Raises:
        ConfigError: a walltime of the command line that cannot be read.
        LaunchError: one of SLURM that cannot.
    """
    ends = [] if walltime is None else [began + parse_walltime(walltime)]
    end = environment.get(END_TIME_VARIABLE)
    if end:
        try:
            left = float(end) - time.time()
        except ValueError:
            raise LaunchError(
                f"{END_TIME_VARIABLE} is {end!r}", where="environment", rule="it counts seconds since 1970"
            ) from None
        if left > 0:
            ends.append(time.monotonic() + left)
    return min(ends, default=None)
