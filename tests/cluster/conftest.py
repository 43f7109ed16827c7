"""One SLURM for all tests of this folder; down again at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.cluster.daemons import daemons
from tests.cluster.slurm import LONG, SHORT, Cluster
from tests.distributed.runs import Workplace


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
    # Neither variables of a job around the tests nor those of an earlier launcher reach the jobs.
    launchers = ("SLURM_", "SBATCH_", "MASTER_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(launchers)}
    own = {"SLURM_CONF": str(folder / "slurm.conf"), "WEATHER_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    with daemons("slurm", folder):
        yield Cluster(workplace, {**inherited, **own})


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
