"""The synthetic archive that a first run finds missing and makes for itself."""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path

from weather.data.synthetic_request import MANIFEST, UNFINISHED
from weather.errors import DataError

LOCK_FILE = "lock"


def make_default_archive(data_dir: Path) -> None:
    """Make the default archive where there is none, or only the beginning of one, so that a first run needs no data.

    Anything else that is there is left alone. Of several processes one writes and the others wait.

    Raises:
        DataError: it cannot be written.
    """
    if not _is_unfinished(data_dir):
        return
    from weather.data.synthetic import create_test_data

    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with open(data_dir / LOCK_FILE, "w") as lock:
            with contextlib.suppress(OSError):  # some file systems have no locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_unfinished(data_dir):
                print(f"no archive in {data_dir} yet: making one of synthetic weather (some seconds)", flush=True)
                create_test_data(data_dir)
    except OSError as error:
        raise DataError(f"the archive cannot be written ({error})", where=data_dir) from error


def _is_unfinished(data_dir: Path) -> bool:
    """Whether there is nothing, or what a call that was cut short has left."""
    if (data_dir / MANIFEST).exists():
        return False
    return (data_dir / UNFINISHED).exists() or not any(path.name != LOCK_FILE for path in data_dir.glob("*"))
