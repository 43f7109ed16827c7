"""The failures a user can cause and mend. Each is one line: what, where, the rule, what to do."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

EXIT_COMPLETE = 0
EXIT_FAILED = 1
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: "stopped in good order, start me again"


class WeatherError(Exception):
    """Base of every user-facing failure.

    Args:
        what: what is wrong, with the offending value.
        where: the file, key, dataset or index it was found at.
        rule: what would be right.
        fix: what the user can do about it.
    """

    #: True where every rank raises this same error, so that one voice is enough to report it.
    agreed: bool = False

    def __init__(self, what: str, *, where: object = "", rule: str = "", fix: str = "") -> None:
        place = f"{where}: " if str(where) else ""
        parts = [f"{place}{what}"] + [part for part in (rule, fix) if part]
        super().__init__("; ".join(part.rstrip(".") for part in parts) + ".")


class ConfigError(WeatherError):
    """A config file, an override or a command line says something that cannot be done."""


class DataError(WeatherError):
    """An archive or its statistics are missing, damaged or inconsistent."""


class CheckpointError(WeatherError):
    """A checkpoint is missing, incomplete or of another model."""


class LaunchError(WeatherError):
    """The ranks, devices or launcher variables do not fit together."""


class TrainingError(WeatherError):
    """The training itself went wrong: a loss that is not finite."""


def command_line(main: Callable[[], int | None]) -> Callable[[], None]:
    """Turn a ``main()`` into a door: a `WeatherError` becomes one line on stderr and exit status 1."""

    @functools.wraps(main)
    def door() -> None:
        try:
            status = main()
        except WeatherError as error:
            rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
            if rank == "0" or not error.agreed:
                who = "" if rank == "0" else f" [rank {rank}]"
                print(f"{type(error).__name__}{who}: {error}", file=sys.stderr, flush=True)
            status = EXIT_FAILED
        sys.exit(status or EXIT_COMPLETE)

    return door
