"""The ladder of launchers, from dictionaries of the variables that each of them sets."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest
import torch
import torch.distributed as dist

from weather.errors import ConfigError, LaunchError
from weather.runtime.collectives import fail_together, on_first_rank, rank_was_lost, start_process_group, sum_over_ranks
from weather.runtime.ranks import Ranks, expand_tasks_per_node, find_ranks, first_host


def torchrun(rank: int, world: int, local: int, local_world: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_RANK": str(local),
        "LOCAL_WORLD_SIZE": str(local_world),
        "MASTER_ADDR": "node7",
        "MASTER_PORT": "4321",
    }


def by_hand(rank: int, world: int, local: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(local)}


def deepspeed(rank: int, world: int, local: int, local_world: int) -> dict[str, str]:
    """What DeepSpeed's launcher sets: `LOCAL_SIZE`, not `LOCAL_WORLD_SIZE`."""
    return by_hand(rank, world, local) | {
        "LOCAL_SIZE": str(local_world),
        "MASTER_ADDR": "node1",
        "MASTER_PORT": "29500",
    }


def srun(rank: int, world: int, local: int, node: int, tasks_per_node: str, nodes: str) -> dict[str, str]:
    """What a task of `srun` sees."""
    return {
        "SLURM_JOB_ID": "70123",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_LOCALID": str(local),
        "SLURM_NODEID": str(node),
        "SLURM_NTASKS": str(world),
        "SLURM_STEP_NUM_TASKS": str(world),
        "SLURM_TASKS_PER_NODE": tasks_per_node,
        "SLURM_STEP_TASKS_PER_NODE": tasks_per_node,
        "SLURM_NODELIST": nodes,
        "SLURM_STEP_NODELIST": nodes,
    }


def openmpi(rank: int, world: int, local: int, local_world: int) -> dict[str, str]:
    return {
        "OMPI_COMM_WORLD_RANK": str(rank),
        "OMPI_COMM_WORLD_SIZE": str(world),
        "OMPI_COMM_WORLD_LOCAL_RANK": str(local),
        "OMPI_COMM_WORLD_LOCAL_SIZE": str(local_world),
    }


def place(ranks: Ranks) -> tuple[int, int, int, int]:
    return ranks.rank, ranks.world_size, ranks.local_rank, ranks.local_world_size


# --- the rungs ---


def test_without_a_launcher_a_process_is_alone() -> None:
    assert find_ranks({"PATH": "/bin"}) == Ranks()
    assert Ranks().first
    assert Ranks().nodes == 1


def test_torchrun() -> None:
    ranks = find_ranks(torchrun(5, 8, 1, 4))
    assert place(ranks) == (5, 8, 1, 4)
    assert (ranks.launcher, ranks.master_address, ranks.master_port) == ("torchrun", "node7", 4321)
    assert ranks.nodes == 2
    assert not ranks.first


def test_torchrun_of_one_rank_is_a_world() -> None:
    assert find_ranks(torchrun(0, 1, 0, 1)).launcher == "torchrun"


def test_srun() -> None:
    ranks = find_ranks(srun(9, 16, 1, 1, "8(x2)", "frontier[00012-00013]"))
    assert place(ranks) == (9, 16, 1, 8)
    assert (ranks.launcher, ranks.master_address, ranks.nodes) == ("SLURM", "frontier00012", 2)


@pytest.mark.parametrize(
    ("rank", "local", "node", "local_world"),
    [(0, 0, 0, 2), (1, 1, 0, 2), (2, 0, 1, 2), (3, 1, 1, 2), (4, 0, 2, 1)],
)
def test_srun_with_unequal_nodes(rank: int, local: int, node: int, local_world: int) -> None:
    ranks = find_ranks(srun(rank, 5, local, node, "2(x2),1", "a[1-3]"))
    assert place(ranks) == (rank, 5, local, local_world)
    assert ranks.nodes == 3


def test_srun_step_that_is_smaller_than_its_job() -> None:
    step = srun(1, 2, 1, 0, "2", "n4")
    job = {"SLURM_NTASKS": "16", "SLURM_TASKS_PER_NODE": "8(x2)", "SLURM_NODELIST": "n[3-4]"}
    ranks = find_ranks(step | job)
    assert place(ranks) == (1, 2, 1, 2)
    assert ranks.master_address == "n4"


def test_jobs_on_one_node_get_ports_of_their_own() -> None:
    first, second = srun(0, 2, 0, 0, "2", "n1"), srun(0, 2, 0, 0, "2", "n1") | {"SLURM_JOB_ID": "70124"}
    ports = {find_ranks(first).master_port, find_ranks(second).master_port}
    assert len(ports) == 2
    assert all(1024 <= port < 65536 for port in ports)
    assert find_ranks(first | {"MASTER_ADDR": "other", "MASTER_PORT": "3000"}).master_port == 3000
    assert find_ranks(first | {"MASTER_ADDR": "other"}).master_address == "other"


def test_the_shell_of_a_batch_script_is_alone() -> None:
    # The script itself has SLURM_PROCID=0 and the whole job's task count, but no task was started yet.
    shell = srun(0, 16, 0, 0, "8(x2)", "n[1-2]") | {"ENVIRONMENT": "BATCH"}
    del shell["SLURM_STEP_ID"], shell["SLURM_STEP_NUM_TASKS"], shell["SLURM_STEP_TASKS_PER_NODE"]
    assert find_ranks(shell).launcher == "single"


def test_a_task_of_a_batch_job_is_no_shell() -> None:
    ranks = find_ranks(srun(3, 4, 1, 1, "2(x2)", "n[1-2]") | {"ENVIRONMENT": "BATCH"})
    assert (ranks.launcher, ranks.rank) == ("SLURM", 3)


def test_the_shell_of_an_allocation_is_alone() -> None:
    assert find_ranks({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "16", "SLURM_NODELIST": "n[1-2]"}).launcher == "single"


def test_openmpi() -> None:
    ranks = find_ranks(openmpi(3, 4, 1, 2) | {"MASTER_ADDR": "n1"})
    assert place(ranks) == (3, 4, 1, 2)
    assert (ranks.launcher, ranks.master_address) == ("OpenMPI", "n1")


def test_pmi() -> None:
    environment = {"PMI_RANK": "3", "PMI_SIZE": "4", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "2"}
    ranks = find_ranks(environment)
    assert place(ranks) == (3, 4, 1, 2)
    assert ranks.launcher == "PMI"


def test_pmi_without_local_ranks_says_what_is_missing() -> None:
    with pytest.raises(LaunchError, match="MPI_LOCALRANKID"):
        find_ranks({"PMI_RANK": "3", "PMI_SIZE": "4"})


def test_deepspeed_with_the_argument_it_passes() -> None:
    ranks = find_ranks(deepspeed(3, 4, 1, 2), local_rank=1)
    assert place(ranks) == (3, 4, 1, 2)
    assert (ranks.launcher, ranks.master_address) == ("deepspeed", "node1")


def test_variables_set_by_hand() -> None:
    ranks = find_ranks(by_hand(1, 2, 1))
    assert place(ranks) == (1, 2, 1, 2)
    assert ranks.launcher == "environment"


def test_torchrun_under_srun_is_torchrun() -> None:
    # One task a node, and in it a torchrun with two ranks: SLURM's variables count nodes, not ranks.
    for environment in (srun(1, 2, 0, 1, "1(x2)", "n[1-2]"), openmpi(1, 2, 0, 1)):
        ranks = find_ranks(environment | torchrun(3, 4, 1, 2))
        assert (ranks.launcher, place(ranks)) == ("torchrun", (3, 4, 1, 2))


def test_variables_that_repeat_what_srun_says_are_no_conflict() -> None:
    # A wrapper script in each task: export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID
    task = srun(3, 4, 1, 1, "2(x2)", "n[1-2]")
    for repeated in (by_hand(3, 4, 1), {"WORLD_SIZE": "4"}):
        ranks = find_ranks(task | repeated)
        assert place(ranks) == (3, 4, 1, 2)
        assert ranks.master_address == "n1", "rank 0 is on the first node, not on each"


# --- what is refused ---


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"RANK": "0"}, ["RANK set", "LOCAL_RANK, WORLD_SIZE"]),
        ({"RANK": "0", "WORLD_SIZE": "2"}, ["RANK, WORLD_SIZE set", "not LOCAL_RANK"]),
        ({"LOCAL_RANK": "1", "MASTER_ADDR": "n1"}, ["LOCAL_RANK set", "RANK, WORLD_SIZE"]),
    ],
)
def test_half_a_set_of_variables_is_refused(environment: dict[str, str], named: list[str]) -> None:
    with pytest.raises(LaunchError) as refusal:
        find_ranks(environment)
    assert all(name in str(refusal.value) for name in named)


@pytest.mark.parametrize(
    ("environment", "other"),
    [
        # Exported once in the batch script: every task would believe that it is rank 0 of 4, and wait for the others.
        (srun(3, 4, 1, 1, "2(x2)", "n[1-2]") | by_hand(0, 4, 0), "SLURM"),
        # Left over in the user's shell: every task would train the same run alone.
        (srun(3, 4, 1, 1, "2(x2)", "n[1-2]") | by_hand(0, 1, 0), "SLURM"),
        (srun(3, 4, 1, 1, "2(x2)", "n[1-2]") | {"WORLD_SIZE": "2"}, "SLURM"),
        # DeepSpeed's launcher in an interactive task of srun: SLURM sees one task and DeepSpeed four ranks.
        (srun(0, 1, 0, 0, "1", "n1") | deepspeed(2, 4, 2, 4), "SLURM"),
        (openmpi(1, 2, 1, 2) | by_hand(0, 2, 0), "OMPI"),
    ],
    ids=["slurm-exported-once", "slurm-left-over", "slurm-world-size", "slurm-deepspeed", "openmpi-by-hand"],
)
def test_launchers_that_contradict_one_another_are_refused(environment: dict[str, str], other: str) -> None:
    with pytest.raises(LaunchError) as refusal:
        find_ranks(environment)
    message = str(refusal.value)
    assert other in message
    assert re.search(r"\b(RANK|WORLD_SIZE)\b", message)


def test_a_local_rank_argument_that_contradicts_is_refused_with_both_numbers() -> None:
    with pytest.raises(LaunchError, match=r"--local_rank 0 .* deepspeed says local rank 1"):
        find_ranks(deepspeed(3, 4, 1, 2), local_rank=0)
    with pytest.raises(LaunchError, match=r"--local_rank 1 .* single says local rank 0"):
        find_ranks({}, local_rank=1)


@pytest.mark.parametrize(
    "environment",
    [torchrun(4, 4, 0, 2), torchrun(-1, 4, 0, 2), torchrun(0, 4, 2, 2), torchrun(0, 2, 0, 4), torchrun(0, 0, 0, 0)],
)
def test_impossible_places_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(LaunchError, match=r"rank -?\d of \d, local rank \d of \d"):
        find_ranks(environment)


def test_a_variable_that_is_no_number_is_named() -> None:
    with pytest.raises(LaunchError, match="WORLD_SIZE is 'four'"):
        find_ranks(torchrun(0, 4, 0, 4) | {"WORLD_SIZE": "four"})


def test_devices_and_nodes_must_be_those_that_were_started() -> None:
    environment = torchrun(5, 8, 1, 4)
    assert find_ranks(environment, devices=4, num_nodes=2).world_size == 8
    with pytest.raises(LaunchError, match=r"2 node\(s\) with 8 device\(s\) .* torchrun started 2 with 4 rank\(s\)"):
        find_ranks(environment, devices=8)
    with pytest.raises(LaunchError, match=r"4 node\(s\) with 4 device\(s\) .* torchrun started 2 with 4 rank\(s\)"):
        find_ranks(environment, num_nodes=4)
    # As many ranks in all, but not in that shape.
    with pytest.raises(LaunchError, match=r"4 node\(s\) with 2 device\(s\)"):
        find_ranks(environment, devices=2, num_nodes=4)


def test_devices_without_a_launcher_say_how_to_start_them() -> None:
    with pytest.raises(LaunchError, match="torchrun --nnodes 2 --nproc-per-node 4"):
        find_ranks({}, devices=4, num_nodes=2)
    assert find_ranks({}, devices=1, num_nodes=1) == Ranks()


def test_no_devices_are_refused() -> None:
    with pytest.raises(LaunchError):
        find_ranks({}, devices=0)


# --- SLURM's notations ---


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("n1", "n1"),
        ("n1,n2", "n1"),
        ("frontier[00012-00014,00020],x1", "frontier00012"),
        ("frontier[00012,00020]", "frontier00012"),
        ("login-a[3-4]", "login-a3"),
        ("gpu[01-02]-ib,gpu07-ib", "gpu01-ib"),
        ("host.domain.org,other", "host.domain.org"),
        ("rack[1-2]node[3-4]", "rack1node3"),
        (" n[7] ", "n7"),
    ],
)
def test_first_host_of_a_node_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_node_list_without_a_host_is_refused() -> None:
    with pytest.raises(LaunchError, match="node list"):
        first_host("")


@pytest.mark.parametrize(
    ("text", "counts"),
    [("4", [4]), ("2(x3),1", [2, 2, 2, 1]), ("1,8(x2),4", [1, 8, 8, 4]), ("12(x2)", [12, 12]), ("", [])],
)
def test_tasks_of_each_node(text: str, counts: list[int]) -> None:
    assert expand_tasks_per_node(text) == counts


# --- in a single process ---


def test_first_rank_answers_itself() -> None:
    assert on_first_rank(lambda: 7) == 7
    with pytest.raises(ConfigError, match="no such thing"):
        on_first_rank(_refuse)
    with pytest.raises(ZeroDivisionError):
        on_first_rank(lambda: 1 // 0)


def test_a_process_alone_fails_by_itself() -> None:
    fail_together(None)
    error = ConfigError("no such thing")
    with pytest.raises(ConfigError, match="no such thing") as raised:
        fail_together(error)
    assert raised.value is error
    assert error.agreed, "one voice is enough to report it"


def _refuse() -> None:
    raise ConfigError("no such thing")


def test_a_process_alone_needs_no_group() -> None:
    start_process_group(Ranks(), "gloo", 1.0, None)
    assert not dist.is_initialized()
    values = torch.tensor([1.0, 2.0])
    assert sum_over_ranks(values) is values
    assert values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection closed by peer"), True),
        (dist.DistBackendError("NCCL error"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("gloo"), False),
    ],
)
def test_the_loss_of_a_rank_is_recognised(error: Exception, lost: bool) -> None:
    assert rank_was_lost(error) is lost


def test_ranks_that_cannot_meet_say_where_they_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone
    with contextlib.closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ranks = Ranks(world_size=2, local_world_size=2, launcher="torchrun", master_port=port)
        with pytest.raises(LaunchError, match=rf"127\.0\.0\.1:{port}.*rank 0 of 2 cannot join"):
            start_process_group(ranks, "gloo", 0.05, None)
    assert not dist.is_initialized()
