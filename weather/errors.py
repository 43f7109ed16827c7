"""The failures a user can cause and mend. Each is one line: what, where, the rule, what to do."""

from __future__ import annotations

import atexit
import contextlib
import difflib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

EXIT_COMPLETE = 0
EXIT_FAILED = 1
EXIT_BLOWN_UP = 3  # forecasts were written, but some are not finite
RANK_VARIABLES = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells say it
EXIT_STOPPED = 75  # EX_TEMPFAIL of sysexits.h: "stopped in good order, start me again"

_among_ranks = False


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
        line = "; ".join(part.rstrip(".") for part in parts)
        super().__init__(line if line.endswith("?") else line + ".")


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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest known word; empty if none is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean '{near[0]}'?" if near else ""


def command_line(main: Callable[[], int | None]) -> Callable[[], None]:
    """Turn a ``main()`` into a door: a `WeatherError`, or a failing disk, becomes one line on stderr and status 1."""

    @functools.wraps(main)
    def door() -> None:
        try:
            status = main()
        except (WeatherError, OSError) as error:
            # A config is the same on every rank, and so is what is wrong with it.
            agreed = isinstance(error, ConfigError) or getattr(error, "agreed", False)
            rank = next((os.environ[name] for name in RANK_VARIABLES if os.environ.get(name)), "0")
            if rank == "0" or not agreed:
                who = "" if rank == "0" else f" [rank {rank}]"
                with contextlib.suppress(OSError):
                    print(f"{type(error).__name__}{who}: {error}", file=sys.stderr, flush=True)
            status = EXIT_FAILED
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept", file=sys.stderr)
            status = EXIT_INTERRUPTED
        except Exception:  # a defect of ours or of a library: its traceback is what helps
            if not _among_ranks:
                raise
            traceback.print_exc()
            status = EXIT_FAILED
        if _among_ranks and not _started_by_ourselves():
            end_of_rank(status or EXIT_COMPLETE)
        sys.exit(status or EXIT_COMPLETE)

    return door


def joined_ranks() -> None:
    """Remember that this process has joined a process group: its command line then ends it by `end_of_rank`."""
    global _among_ranks
    _among_ranks = True


def _started_by_ourselves() -> bool:
    """Whether `runtime.launch` started this rank and waits for its status; it ends the process itself."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


def end_of_rank(status: int) -> NoReturn:
    """End a process that other ranks know, without Python's own finalization.

    A thread of gloo or NCCL drops its last tensors as soon as it gets Python's interpreter lock. Finalization ends
    threads that wait for the lock, here within a C++ destructor, and then the whole process aborts after its work is
    done. After a failure, the destructors of a process group may wait for a rank that is gone. So a rank ends as
    Python's multiprocessing ends its children: exit handlers, which a failed rank leaves out, streams, `os._exit`.
    """
    if status in (EXIT_COMPLETE, EXIT_STOPPED):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)
