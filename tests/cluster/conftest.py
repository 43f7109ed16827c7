"""One SLURM for all tests of this folder; down again at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import LONG, SHORT, Cluster
from tests.distributed.runs import Workplace

CANNOT = 77  # of slurm_up.sh: this machine can have no SLURM
SCRIPTS = Path(__file__).parent


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("slurm_runs"))
    yield place
    place.close()


@pytest.fixture(scope="session")
def cluster(workplace: Workplace) -> Iterator[Cluster]:
    """SLURM for the tests of this file; down again at the end."""
    folder = workplace.folder / "slurm"
    for private in (workplace.folder, *workplace.folder.parents[:2]):  # pytest's, and munged runs as a user of its own
        private.chmod(private.stat().st_mode | 0o055)
    up = subprocess.run(
        ["bash", str(SCRIPTS / "slurm_up.sh"), str(folder)], capture_output=True, text=True, timeout=240
    )
    if up.returncode == CANNOT:
        pytest.skip(up.stderr.strip().splitlines()[-1])
    assert up.returncode == 0, up.stderr
    # Neither variables of a job around the tests nor those of an earlier launcher reach the jobs.
    launchers = ("SLURM_", "SBATCH_", "MASTER_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(launchers)}
    try:
        yield Cluster(
            workplace,
            {
                **inherited,
                "SLURM_CONF": str(folder / "slurm.conf"),
                "WEATHER_PYTHON": sys.executable,
                "OMP_NUM_THREADS": "1",
            },
        )
    finally:
        subprocess.run(["bash", str(SCRIPTS / "slurm_down.sh"), str(folder)], check=True, timeout=60)


@pytest.fixture(scope="session")
def uninterrupted(workplace: Workplace) -> str:
    """Name of a long run that nobody interrupts, under torchrun."""
    workplace.run("uninterrupted", "strategy=fsdp", *LONG, ranks=2)
    return "uninterrupted"


@pytest.fixture(scope="session")
def four_ranks(workplace: Workplace) -> str:
    """Name of a shorter one on four ranks."""
    workplace.run("four_ranks", "strategy=fsdp", *SHORT, ranks=4)
    return "four_ranks"
