"""Verification gives the same numbers on three ranks as on one, with real processes, each initial time once.

`tests/distributed/test_evaluation.py` runs the command on two.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.archives import write_archive
from tests.verification.on_ranks import arrays, scores_of

PATIENCE_SECONDS = 120
REPOSITORY = Path(__file__).parents[2]


def start_ranks(world_size: int, *words: str) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size), "LOCAL_SIZE": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.verification.on_ranks", *words],
            cwd=REPOSITORY,
            env={
                **os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1",
                "LOCAL_WORLD_SIZE": str(world_size), "PYTHONPATH": str(REPOSITORY),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(world_size)
    ]  # fmt: skip


@pytest.mark.slow  # several ranks: not beside another test
def test_three_ranks_find_what_one_does(tmp_path: Path) -> None:
    """The climatology made together, then 5 initial times verified, then a single one: two ranks have none."""
    hours = np.arange(0, 366 * 24, 6.0)
    files, times = {"train": (len(hours),), "test": (8,)}, {"train": [hours], "test": [90_000 + 6.0 * np.arange(8)]}
    write_archive(tmp_path / "archive", files=files, times=times, channels=("a", "b"), grid=(4, 6))
    shutil.copytree(tmp_path / "archive", tmp_path / "another")
    for process in start_ranks(3, str(tmp_path / "archive"), str(tmp_path / "ranks")):
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, output
    for most, count in ((None, 5), (1, 1)):
        alone = scores_of(str(tmp_path / "another"), most)
        assert alone.samples == count
        found = np.load(tmp_path / f"ranks_{most}.npz")
        for name, values in arrays(alone).items():
            # Batches are of other sizes, so that float32 sums over them may round otherwise.
            np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, err_msg=name)
        if most is None:
            # From 00, 06, 12, 18, 00 UTC: who comes to 12 or 18 UTC on the way is lost in channel b, and only there.
            assert alone.blown_up.tolist() == [[2, 5], [0, 0], [0, 0], [0, 0]]
            assert np.isfinite(alone.squared_error[0, ..., 0]).all() and np.isfinite(alone.squared_error[1:]).all()
            assert np.isfinite(alone.power[1:]).all() and np.isfinite(alone.power[0, :, 0]).all()
