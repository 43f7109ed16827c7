"""`--devices N` without a launcher: the ranks start, stop and fail as one command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.distributed.runs import Workplace, assert_same_bits, descendants

TWO = ("--devices", "2", "--strategy", "ddp")


def ranks_below(pid: int) -> list[int]:
    """The ranks: each leads a session of its own."""
    return sorted(child for child in descendants(pid) if os.getsid(child) == child)


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> list[int]:
    deadline = time.monotonic() + seconds
    left = pids
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if Path(f"/proc/{pid}").exists() and state(pid) != "Z"]
        time.sleep(0.05)
    return left


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.slow
def test_they_train_what_torchrun_trains(workplace: Workplace) -> None:
    output = workplace.run("own", options=TWO)
    assert "ddp on 2 x cpu" in output and output.count("complete (all epochs) at step 18") == 1
    workplace.run("by_torchrun", ranks=2)
    assert workplace.losses("own") == workplace.losses("by_torchrun")
    assert_same_bits(workplace.tensors("own"), workplace.tensors("by_torchrun"))


@pytest.mark.slow
def test_one_rank_may_have_a_parallel_strategy(workplace: Workplace) -> None:
    assert "fsdp on 1 x cpu" in workplace.run("lone", "max_steps=2", options=("--devices", "1", "--strategy", "fsdp"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_all_and_the_status_is_75(workplace: Workplace, number: signal.Signals) -> None:
    name = f"own_{number.name}"
    process = workplace.start(name, "epochs=4000", options=TWO)
    workplace.wait_for_step(process, name, 3)
    below = descendants(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    stop = workplace.records(name, "stop")[-1]
    assert stop["reason"] == "signal" and workplace.records(name, "checkpoint")[-1]["step"] == stop["step"]
    assert not wait_until_gone(below)


@pytest.mark.slow
def test_a_signal_before_the_ranks_have_begun_is_kept_for_them(workplace: Workplace) -> None:
    process = workplace.start("early", "epochs=4000", options=TWO)
    while len(ranks := descendants(process.pid)) < 2:
        time.sleep(0.01)
    process.terminate()
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert workplace.records("early", "stop")[-1]["reason"] == "signal"
    assert not wait_until_gone(ranks)


@pytest.mark.slow
def test_a_ctrl_c_of_the_terminal_counts_once(workplace: Workplace) -> None:
    """The terminal signals the whole foreground group: parent and, if they were in it, ranks."""
    process = workplace.start("terminal", "epochs=4000", options=TWO)
    workplace.wait_for_step(process, "terminal", 3)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output


@pytest.mark.slow
def test_quit_ends_all_at_once(workplace: Workplace) -> None:
    process = workplace.start("quit", "epochs=4000", options=TWO)
    workplace.wait_for_step(process, "quit", 3)
    below = descendants(process.pid)
    process.send_signal(signal.SIGQUIT)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGQUIT
    assert not wait_until_gone(below)


@pytest.mark.slow
def test_when_the_parent_dies_the_ranks_save_and_leave(workplace: Workplace) -> None:
    process = workplace.start("orphans", "epochs=4000", options=TWO)
    workplace.wait_for_step(process, "orphans", 3)
    below = descendants(process.pid)
    assert len(ranks_below(process.pid)) == 2
    process.kill()
    output, _ = process.communicate(timeout=60)
    assert not wait_until_gone(below)
    assert workplace.records("orphans", "stop"), output
    stop = workplace.records("orphans", "stop")[-1]
    assert stop["reason"] == "signal" and workplace.records("orphans", "checkpoint")[-1]["step"] == stop["step"]


@pytest.mark.slow
def test_a_killed_rank_is_named_and_ends_the_others(workplace: Workplace) -> None:
    process = workplace.start("bereft", "epochs=4000", "save_every_steps=2", options=TWO)
    workplace.wait_for_step(process, "bereft", 4, "checkpoint")
    below = descendants(process.pid)
    os.kill(ranks_below(process.pid)[1], signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "killed by SIGKILL" in output or "another rank failed or was lost" in output
    assert not wait_until_gone(below)
    assert "resumes at step" in workplace.run("bereft", "max_steps=400", options=TWO)


def test_a_mistake_is_said_once(workplace: Workplace) -> None:
    output = workplace.run("wrong", "data.channels=[t2m,q700]", status=1, options=TWO)
    assert output.count("no channel 'q700'") == 1 and "Traceback" not in output


def test_several_ranks_need_a_parallel_strategy(workplace: Workplace) -> None:
    output = workplace.run("serial", status=1, options=("--devices", "2"))
    assert output.count("\n") == 1
    assert "--devices 2 with strategy 'single'" in output and "--strategy ddp" in output


def test_several_nodes_must_be_told_how_they_meet(workplace: Workplace) -> None:
    output = workplace.run("nodes", status=1, options=(*TWO, "--num_nodes", "2"))
    assert "NODE_RANK, MASTER_ADDR not set" in output and "torchrun --nnodes 2 --nproc-per-node 2" in output


def start_node(place: Workplace, name: str, rank: int, port: int, *settings: str) -> subprocess.Popen[str]:
    """The command of one of two nodes, with one rank."""
    command = place.command(name, *settings, options=("--devices", "1", "--num_nodes", "2", "--strategy", "ddp"))
    return place.start_command(command, NODE_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


@pytest.mark.slow
def test_two_nodes_by_hand_train_what_torchrun_trains(workplace: Workplace) -> None:
    nodes = [start_node(workplace, "by_hand", rank, 29611) for rank in (1, 0)]
    for node in nodes:
        output, _ = node.communicate(timeout=60)
        assert node.returncode == 0, output
    assert "ddp on 2 x cpu" in output, "rank 0 is on node 0"
    workplace.run("by_two", ranks=2)
    assert_same_bits(workplace.tensors("by_hand"), workplace.tensors("by_two"))


@pytest.mark.slow
def test_a_signal_to_one_node_stops_the_ranks_of_all(workplace: Workplace) -> None:
    nodes = [start_node(workplace, "both", rank, 29612, "epochs=4000") for rank in (0, 1)]
    workplace.wait_for_step(nodes[0], "both", 3)
    nodes[1].send_signal(signal.SIGUSR1)
    for node in nodes:
        output, _ = node.communicate(timeout=60)
        assert node.returncode == 75, output
    assert workplace.records("both", "stop")[-1]["reason"] == "signal"


@pytest.mark.slow
def test_a_node_that_does_not_come_is_not_waited_for_for_ever(workplace: Workplace) -> None:
    node = start_node(workplace, "lonely", 0, 29613, "collective_timeout_minutes=0.02")
    output, _ = node.communicate(timeout=60)
    assert node.returncode == 1
    assert "LaunchError: 127.0.0.1:29613: node 0 of 2 cannot meet the others" in output and "Traceback" not in output


def test_another_world_than_the_launcher_started_is_refused(workplace: Workplace) -> None:
    output = workplace.run("three", status=1, ranks=2, options=("--devices", "3"))
    assert "1 node(s) with 3 device(s) asked for, but torchrun started 1 with 2 rank(s)" in output


def test_the_cores_are_shared_among_the_ranks(workplace: Workplace) -> None:
    command = workplace.command("threads", "max_steps=1", options=TWO)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    subprocess.run(command, cwd=workplace.folder, env=environment, check=True, capture_output=True, timeout=120)
    facts = json.loads((workplace.folder / "runs/threads/environment.json").read_text())
    assert facts["threads"] == max(1, len(os.sched_getaffinity(0)) // 2)
