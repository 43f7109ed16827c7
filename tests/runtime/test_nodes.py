"""Where ranks are started, and on which cores. How they are started and stopped: tests/distributed/test_launch.py."""

from __future__ import annotations

import pytest

from tests.runtime.test_ranks import by_hand, srun, torchrun
from weather.errors import LaunchError
from weather.runtime.nodes import Nodes, cores_of_masks, cores_of_rank, find_nodes

# Cores of the eight devices of a Frontier node, as launch/frontier_env.sh gives them.
FRONTIER = "0xfe000000000000,0xfe00000000000000,0xfe0000,0xfe000000,0xfe,0xfe00,0xfe00000000,0xfe0000000000"


@pytest.mark.parametrize(
    ("cores", "number", "machine", "shares"),
    [
        ([0, 1, 2, 3], 2, 8, [[0, 1], [2, 3]]),
        ([1, 2, 3, 9, 10], 2, 16, [[1, 2], [3, 9, 10]]),
        ([0, 1, 2, 3], 2, 4, [None, None]),
        ([5], 2, 8, [None, None]),
        ([4, 5], 2, 8, [[4], [5]]),
    ],
    ids=["even", "uneven", "whole machine", "one core for two", "one core each"],
)
def test_cores_that_a_scheduler_gave_are_shared_out(
    cores: list[int], number: int, machine: int, shares: list[list[int] | None]
) -> None:
    assert [cores_of_rank(cores, rank, number, of=machine) for rank in range(number)] == shares


def test_masks_give_each_rank_the_cores_next_to_its_device() -> None:
    usable = [core for core in range(64) if core % 8]  # one of eight is the system's
    shares = cores_of_masks(FRONTIER, 8, usable)
    assert shares[0] == list(range(49, 56)) and shares[4] == list(range(1, 8))
    assert sorted(core for share in shares for core in share) == usable, "each core once"
    assert cores_of_masks(FRONTIER, 2, usable) == shares[:2]


@pytest.mark.parametrize("masks", ["0x1", "0x1,0x0", "1-7,9-15", "0x1,"])
def test_masks_that_are_none_are_refused(masks: str) -> None:
    with pytest.raises(LaunchError, match="each of the 2 local ranks"):
        cores_of_masks(masks, 2, range(8))


def test_cores_that_may_not_be_used_are_named() -> None:
    with pytest.raises(LaunchError, match=r"core\(s\) \[4, 9\]"):
        cores_of_masks("0x11,0x202", 2, [0, 1])


# --- where ranks are to be started ---


def test_here_if_no_launcher_has_started_them() -> None:
    assert find_nodes({}, devices=4) == find_nodes({}, devices=4, num_nodes=1) == Nodes()
    assert find_nodes({}) is None


def test_in_the_one_task_of_each_node() -> None:
    task = srun(1, 2, 0, 1, "1(x2)", "n[1-2]") | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "3000"}
    assert find_nodes(task, devices=8) == find_nodes(task, devices=8, num_nodes=2) == Nodes(2, 1, "10.0.0.1", 3000)
    assert find_nodes(task) is None, "nobody asked for more ranks than tasks"
    assert find_nodes(srun(0, 1, 0, 0, "1", "n1"), devices=8) is not None
    with pytest.raises(LaunchError, match="--num_nodes 3, but srun started one task on each of 2"):
        find_nodes(task, devices=8, num_nodes=3)


def test_not_where_srun_has_started_them() -> None:
    task = srun(3, 4, 1, 1, "2(x2)", "n[1-2]")
    assert find_nodes(task, devices=2) is None
    with pytest.raises(LaunchError, match=r"2 node\(s\) with 8 device\(s\) .* SLURM started 2 with 2 rank\(s\)"):
        find_nodes(task, devices=8)


def test_not_in_a_rank_that_was_started_in_a_task() -> None:
    task = srun(1, 2, 0, 1, "1(x2)", "n[1-2]")
    assert find_nodes(task | torchrun(3, 4, 1, 2), devices=2, num_nodes=2) is None
    with pytest.raises(LaunchError, match="environment started 1 with 2"):
        find_nodes(by_hand(0, 2, 0), devices=4)


def test_on_several_nodes_by_hand() -> None:
    told = {"NODE_RANK": "1", "MASTER_ADDR": "n1", "MASTER_PORT": "3000"}
    assert find_nodes(told, devices=8, num_nodes=2) == Nodes(2, 1, "n1", 3000)
    assert find_nodes(told, devices=8) == Nodes(), "variables that nobody asked for"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "NODE_RANK, MASTER_ADDR not set"),
        ({"NODE_RANK": "0"}, "but MASTER_ADDR not set"),
        ({"NODE_RANK": "2", "MASTER_ADDR": "n1"}, "NODE_RANK is '2'"),
        ({"NODE_RANK": "one", "MASTER_ADDR": "n1"}, "NODE_RANK is 'one'"),
        ({"NODE_RANK": "0", "MASTER_ADDR": "n1", "MASTER_PORT": "p"}, "MASTER_PORT 'p'"),
    ],
)
def test_nodes_that_cannot_find_each_other_are_refused(variables: dict[str, str], named: str) -> None:
    with pytest.raises(LaunchError) as refusal:
        find_nodes(variables, devices=8, num_nodes=2)
    assert named in str(refusal.value) and "torchrun --nnodes 2 --nproc-per-node 8" in str(refusal.value)
