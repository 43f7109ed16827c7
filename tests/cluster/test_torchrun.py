"""torchrun on two agents, as on two nodes, and a worker that is killed and comes back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distributed.runs import PATIENCE_SECONDS, Workplace, assert_same_bits, descendants, kill_tree

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
VARIABLES = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    place = Workplace(tmp_path_factory.mktemp("torchrun"))
    yield place
    place.close()


def start(place: Workplace, name: str, launcher: list[str], *settings: str) -> subprocess.Popen[str]:
    words = place.command(name, *settings, "strategy=ddp")[2:]  # without `python -m`
    command = [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", *words]
    return place.start_command(command, **VARIABLES)


def test_two_agents_train_what_one_trains(workplace: Workplace) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
    agents = [start(workplace, "two_agents", [*meet, "--rdzv-id=7", "--local-addr=127.0.0.1"]) for _ in range(2)]
    for agent in agents:
        output, _ = agent.communicate(timeout=PATIENCE_SECONDS)
        assert agent.returncode == 0, output
    workplace.run("one_agent", ranks=2)
    assert_same_bits(workplace.tensors("two_agents"), workplace.tensors("one_agent"))


def test_a_killed_worker_comes_back_and_the_bits_are_the_same(workplace: Workplace) -> None:
    settings = ("epochs=20", "save_every_steps=5")
    launcher = ["--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    process = start(workplace, "killed", launcher, *settings)
    workplace.wait_for_step(process, "killed", 10, "checkpoint")
    worker = next(p for p in descendants(process.pid) if b"\0RANK=1\0" in Path(f"/proc/{p}/environ").read_bytes())
    os.kill(worker, signal.SIGKILL)
    try:
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        kill_tree(process)
        raise
    assert process.returncode == 0, output
    assert workplace.records("killed", "resume"), output
    straight = start(workplace, "straight", launcher, *settings)
    output, _ = straight.communicate(timeout=PATIENCE_SECONDS)
    assert straight.returncode == 0, output
    assert_same_bits(workplace.tensors("killed"), workplace.tensors("straight"))
