"""Who am I, who else runs: one ladder over the launchers.

The ladder, first match wins: torchrun, SLURM, OpenMPI or PMI, the DeepSpeed launcher, single process. torchrun
comes first because it may itself run under `srun`, whose variables then describe nodes, not ranks.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from weather.errors import LaunchError

DEFAULT_PORT = 29500
HYDRA_LOCAL = ("MPI_LOCALRANKID", "MPI_LOCALNRANKS")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among all of the run.

    Attributes:
        rank, world_size: over all nodes.
        node_count: where the launcher says so; else it follows from the local world size.
        local_rank, local_world_size: on this node.
        launcher: the rung of the ladder that said so.
        master_address, master_port: where rank 0 listens.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    launcher: str = "single"
    master_address: str = "127.0.0.1"
    master_port: int = DEFAULT_PORT
    node_count: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def nodes(self) -> int:
        return self.node_count or max(1, self.world_size // self.local_world_size)


def find_ranks(
    environment: Mapping[str, str] = os.environ,
    *,
    local_rank: int | None = None,
    devices: int | None = None,
    num_nodes: int | None = None,
) -> Ranks:
    """Ask the launcher's variables who this process is.

    Args:
        environment: environment variables.
        local_rank: ``--local_rank`` as the DeepSpeed launcher passes it.
        devices: ranks a node that the user asked for, if any.
        num_nodes: nodes that the user asked for, if any.

    Raises:
        LaunchError: variables are missing, contradict one another, or contradict the arguments.
    """
    ranks = _climb(environment)
    if not (0 <= ranks.rank < ranks.world_size and 0 <= ranks.local_rank < ranks.local_world_size <= ranks.world_size):
        raise LaunchError(
            f"rank {ranks.rank} of {ranks.world_size}, local rank {ranks.local_rank} of {ranks.local_world_size}",
            where=f"variables of {ranks.launcher}",
            rule="a rank is below its world size, and a node holds no more ranks than the world",
        )
    if local_rank is not None and local_rank != ranks.local_rank:
        raise LaunchError(
            f"--local_rank {local_rank} but {ranks.launcher} says local rank {ranks.local_rank}",
            fix="start with one launcher only",
        )
    asked = ranks.local_world_size if devices is None else devices, ranks.nodes if num_nodes is None else num_nodes
    if asked != (ranks.local_world_size, ranks.nodes):
        fix = "leave --devices and --num_nodes to the launcher"
        if ranks.launcher == "single":
            fix = (
                f"start it on each node with: torchrun --nnodes {num_nodes or 1} --nproc-per-node {devices or 1} "
                "--rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29400 -m weather.train --strategy ddp (and more)"
            )
        if ranks.launcher == "deepspeed":
            fix = (
                "look at the hostfile: without one, deepspeed starts on this machine alone; where it has fewer hosts "
                "than --num_nodes says, deepspeed takes what there is"
            )
        raise LaunchError(
            f"{asked[1]} node(s) with {asked[0]} device(s) asked for, but "
            f"{ranks.launcher} started {ranks.nodes} with {ranks.local_world_size} rank(s)",
            fix=fix,
        )
    return ranks


def _climb(environment: Mapping[str, str]) -> Ranks:
    found = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if environment.get(name)]
    if found and len(found) < 3 and "SLURM_PROCID" not in environment and "OMPI_COMM_WORLD_RANK" not in environment:
        missing = sorted({"RANK", "WORLD_SIZE", "LOCAL_RANK"} - set(found))
        raise LaunchError(
            f"{', '.join(found)} set, but not {', '.join(missing)}",
            where="environment",
            fix="unset them, or let a launcher set all three",
        )
    complete = len(found) == 3
    if complete and "LOCAL_WORLD_SIZE" in environment:
        return _ranks(environment, "torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    if _is_slurm_task(environment):
        return _agreed(environment, _slurm(environment))
    if "OMPI_COMM_WORLD_RANK" in environment:
        ompi = (f"OMPI_COMM_WORLD_{name}" for name in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))
        return _agreed(environment, _ranks(environment, "OpenMPI", *ompi))
    if "PMI_RANK" in environment:
        # Cray's PALS and Intel's Hydra call the local rank differently.
        local = ("PMI_LOCAL_RANK", "PMI_LOCAL_SIZE") if "PMI_LOCAL_RANK" in environment else HYDRA_LOCAL
        pmi = ("PMI_RANK", "PMI_SIZE", *local)
        return _agreed(environment, _ranks(environment, "PMI", *pmi))
    if complete:
        # Without a local world size they were set by hand or by another framework.
        launcher, local_world = ("deepspeed", "LOCAL_SIZE") if "LOCAL_SIZE" in environment else ("environment", "")
        return _ranks(environment, launcher, "RANK", "WORLD_SIZE", "LOCAL_RANK", local_world)
    return Ranks()


def _agreed(environment: Mapping[str, str], ranks: Ranks) -> Ranks:
    """`ranks`, unless the variables of another launcher contradict them."""
    for name, value in (("RANK", ranks.rank), ("WORLD_SIZE", ranks.world_size)):
        if environment.get(name) and _number(environment, name) != value:
            launcher = "OMPI (OpenMPI)" if ranks.launcher == "OpenMPI" else ranks.launcher
            raise LaunchError(
                f"{name} is {environment[name]}, but {launcher} says {value}",
                where="environment",
                rule="one launcher says who a process is",
                fix=f"unset RANK, WORLD_SIZE and LOCAL_RANK, or do not start with {ranks.launcher}",
            )
    return ranks


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environment.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(str(text))
    except ValueError:
        raise LaunchError(f"{name} is {text!r}", where="environment", rule="it must be a whole number") from None


def _ranks(environment: Mapping[str, str], launcher: str, rank: str, world: str, local: str, local_world: str) -> Ranks:
    world_size = _number(environment, world)
    local_rank = _number(environment, local, 0 if world_size == 1 else None)
    return Ranks(
        rank=_number(environment, rank),
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=_number(environment, local_world, world_size) if local_world else world_size,
        launcher=launcher,
        master_address=environment.get("MASTER_ADDR", "127.0.0.1"),
        master_port=_number(environment, "MASTER_PORT", DEFAULT_PORT),
    )


def _is_slurm_task(environment: Mapping[str, str]) -> bool:
    """True in a task of `srun`; the batch script itself also has SLURM_PROCID=0, but is no task."""
    batch_script = environment.get("ENVIRONMENT") == "BATCH" and "SLURM_STEP_ID" not in environment
    return "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment and not batch_script


def _slurm(environment: Mapping[str, str]) -> Ranks:
    world_size = _number(environment, "SLURM_STEP_NUM_TASKS", _number(environment, "SLURM_NTASKS"))
    tasks_per_node = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment.get("SLURM_TASKS_PER_NODE") or ""
    node = _number(environment, "SLURM_NODEID", 0)
    counts = expand_tasks_per_node(tasks_per_node)
    local_rank = _number(environment, "SLURM_LOCALID")
    job = _number(environment, "SLURM_JOB_ID", 0)
    return Ranks(
        rank=_number(environment, "SLURM_PROCID"),
        world_size=world_size,
        local_rank=local_rank,
        local_world_size=counts[node] if node < len(counts) else world_size,
        node_count=len(counts),
        launcher="SLURM",
        master_address=environment.get("MASTER_ADDR")
        or first_host(environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or "127.0.0.1"),
        # A port of its own for each job, so that two jobs on one node do not meet.
        master_port=_number(environment, "MASTER_PORT", 20000 + job % 20000 if job else DEFAULT_PORT),
    )


def first_host(nodelist: str) -> str:
    """First host of a SLURM node list: ``frontier[00012-00014,00020],x1`` gives ``frontier00012``."""
    first = re.match(r"(?:[^,\[\]]|\[[^\]]+\])+", nodelist.strip())
    if not first:
        raise LaunchError(f"cannot read the node list {nodelist!r}", where="SLURM_NODELIST")
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first[0])


def expand_tasks_per_node(text: str) -> list[int]:
    """Tasks of each node: ``2(x3),1`` gives [2, 2, 2, 1]."""
    counts: list[int] = []
    for count, repeat in re.findall(r"(\d+)(?:\(x(\d+)\))?", text):
        counts += [int(count)] * int(repeat or 1)
    return counts
