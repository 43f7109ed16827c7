"""Brings up the daemons that tests talk to, and takes them down."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent
CANNOT = 77  # exit status of a script on a machine that cannot have them
INSTALLATION_SECONDS = 600


@contextlib.contextmanager
def daemons(name: str, folder: Path) -> Iterator[None]:
    """Those of NAME_up.sh and NAME_down.sh, with their files in `folder`.

    Where the machine cannot have them, the tests are skipped for the reason that the script gives; never in CI.
    """
    up = subprocess.run(
        ["bash", str(SCRIPTS / f"{name}_up.sh"), str(folder)],
        capture_output=True,
        text=True,
        timeout=INSTALLATION_SECONDS,
    )
    if up.returncode == CANNOT and not os.environ.get("CI"):
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr
    try:
        yield
    finally:
        subprocess.run(["bash", str(SCRIPTS / f"{name}_down.sh"), str(folder)], check=True, timeout=60)
