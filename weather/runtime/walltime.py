"""When the job must be gone: the batch system's end of the job, or what the command line says.

A walltime is a property of a job, not of a run: a run of many jobs has one time budget and many walltimes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping

from weather.errors import LaunchError

END_TIME_VARIABLE = "SLURM_JOB_END_TIME"  # seconds since 1970, set by SLURM 22.05 and later


def parse_walltime(text: str) -> float:
    """Seconds from hours (``1.5``), ``H:MM:SS``, ``MM:SS`` or SLURM's ``D-HH:MM:SS``.

    Raises:
        LaunchError: it is none of these, or not more than 0.
    """
    seconds = 0.0
    spelled = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d*)?)", text.strip())
    if spelled:
        days, hours, minutes, rest = (float(part or 0) for part in spelled.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    elif re.fullmatch(r"\d+(\.\d*)?|\.\d+", text.strip()):
        seconds = float(text) * 3600
    if seconds <= 0:
        raise LaunchError(
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
        environment: may hold SLURM's end of the job; the earlier of the two counts.

    Raises:
        LaunchError: a walltime that cannot be read.
    """
    ends = [] if walltime is None else [began + parse_walltime(walltime)]
    end = environment.get(END_TIME_VARIABLE)
    if end:
        try:
            ends.append(time.monotonic() + float(end) - time.time())
        except ValueError:
            raise LaunchError(
                f"{END_TIME_VARIABLE} is {end!r}", where="environment", rule="it counts seconds since 1970"
            ) from None
    return min(ends, default=None)
