"""Two real gloo processes: what one rank finds, both raise; sums stay within their group."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120
RANK = """
import torch
import torch.distributed as dist
from weather.errors import DataError, TrainingError
from weather.runtime.ranks import fail_together, find_ranks, start_process_group, stop_process_group, sum_over_ranks

ranks = find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
second = ranks.rank == 1
fail_together(None)
for errors in (
    (None, TrainingError("moment of 'a' is lost", rule="a rule", fix="a fix")),
    (DataError("first"), TrainingError("second")),
):
    try:
        fail_together(errors[ranks.rank])
        print("passed")
    except (DataError, TrainingError) as error:
        print(type(error).__name__, error, error.agreed)
alone = [dist.new_group([rank]) for rank in range(2)]
for group in (None, alone[ranks.rank]):
    print(sum_over_ranks(torch.tensor([ranks.rank + 1.0, 10.0]), group).tolist())
stop_process_group()
"""


def test_both_ranks_raise_what_one_has_found() -> None:
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RANK],
            cwd=ROOT,
            env={**os.environ, **common, "RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    try:
        outputs = [process.communicate(timeout=PATIENCE_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [output.splitlines() for output, _ in outputs]
    expected = ["TrainingError moment of 'a' is lost; a rule; a fix. True", "DataError first. True", "[3.0, 20.0]"]
    assert said == [[*expected, "[1.0, 10.0]"], [*expected, "[2.0, 10.0]"]], outputs[0][1] + outputs[1][1]
