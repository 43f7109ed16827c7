"""Nodes on each of which one process starts the ranks: how many there are, which is this, and where they meet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weather.errors import LaunchError
from weather.runtime.ranks import DEFAULT_PORT, find_ranks

MASKS_VARIABLE = "WEATHER_CPU_MASKS"  # cores of each local rank, in the form of srun's --cpu-bind=mask_cpu:


@dataclass(frozen=True)
class Nodes:
    """The nodes of a run.

    Attributes:
        count: of nodes.
        rank: of this one.
        master_address, master_port: where node 0 listens; a single node takes a free port instead.
    """

    count: int = 1
    rank: int = 0
    master_address: str = "127.0.0.1"
    master_port: int = DEFAULT_PORT


def find_nodes(
    environment: Mapping[str, str] = os.environ,
    *,
    local_rank: int | None = None,
    devices: int | None = None,
    num_nodes: int | None = None,
) -> Nodes | None:
    """Where `devices` asks for ranks that no launcher has started: here, or on each node; None: a launcher did.

    Several nodes are one task each under `srun`, or the same command on each with NODE_RANK, MASTER_ADDR and
    MASTER_PORT.

    Raises:
        LaunchError: what a launcher started is not what is asked for, or the nodes cannot know each other.
    """
    ranks = find_ranks(environment, local_rank=local_rank)
    if devices is not None and devices >= 1:
        if ranks.launcher == "single":
            return Nodes() if num_nodes in (None, 1) else _by_hand(environment, devices, num_nodes)
        if ranks.launcher == "SLURM" and devices > 1 and ranks.world_size == ranks.nodes:
            if num_nodes not in (None, ranks.nodes):
                raise LaunchError(
                    f"--num_nodes {num_nodes}, but srun started one task on each of {ranks.nodes} node(s)",
                    fix="leave --num_nodes out, or give srun and sbatch the same number (-N)",
                )
            return Nodes(ranks.nodes, ranks.rank, ranks.master_address, ranks.master_port)
    find_ranks(environment, local_rank=local_rank, devices=devices, num_nodes=num_nodes)
    return None


def _by_hand(environment: Mapping[str, str], devices: int, num_nodes: int) -> Nodes:
    missing = [name for name in ("NODE_RANK", "MASTER_ADDR") if not environment.get(name)]
    rank, port = environment.get("NODE_RANK", "0"), environment.get("MASTER_PORT", str(DEFAULT_PORT))
    if missing or not (rank.isdecimal() and port.isdecimal() and int(rank) < num_nodes):
        what = f"{', '.join(missing)} not set" if missing else f"NODE_RANK is {rank!r}, MASTER_PORT {port!r}"
        raise LaunchError(
            f"--num_nodes {num_nodes}, but {what}",
            where="environment",
            rule=f"without a launcher a node must be told which it is (NODE_RANK 0 to {num_nodes - 1}) and where node "
            "0 listens (MASTER_ADDR, MASTER_PORT)",
            fix=f"set them, or start it on each node with: torchrun --nnodes {num_nodes} --nproc-per-node {devices} "
            "--rdzv-backend c10d --rdzv-endpoint FIRST_HOST:29400 -m weather.train (and your options)",
        )
    return Nodes(num_nodes, int(rank), environment["MASTER_ADDR"], int(port))


def usable_cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_of_rank(cores: Sequence[int], local_rank: int, number: int, *, of: int) -> list[int] | None:
    """The share of a rank in the cores that a scheduler gave to all; None: leave it to the system.

    Ranks that keep to their own share stay near their memory. On a machine that nobody has divided (`of` cores in
    all, and all are usable) the system moves threads as it likes; fewer cores than ranks cannot be shared out.
    """
    if len(cores) < number or len(cores) >= of:
        return None
    return list(cores[len(cores) * local_rank // number : len(cores) * (local_rank + 1) // number])


def cores_of_masks(masks: str, number: int, cores: Sequence[int]) -> list[list[int]]:
    """The cores that masks give to each local rank: ``0xfe,0xfe00`` is 1 - 7 for the first and 9 - 15 for the second.

    Args:
        masks: hexadecimal, with commas, one for each local rank at least.
        number: of local ranks.
        cores: that this process may use.

    Raises:
        LaunchError: they cannot be read, are too few, or name a core that may not be used.
    """
    try:
        values = [int(mask, 16) for mask in masks.split(",")]
    except ValueError:
        values = []
    if len(values) < number or min(values) <= 0:
        raise LaunchError(
            f"{MASKS_VARIABLE} is {masks!r}",
            where="environment",
            rule=f"a hexadecimal mask of cores for each of the {number} local ranks, with commas",
        )
    shares = [[core for core in range(value.bit_length()) if value >> core & 1] for value in values[:number]]
    foreign = sorted({core for share in shares for core in share} - {*cores})
    if foreign:
        raise LaunchError(
            f"{MASKS_VARIABLE} names core(s) {foreign} that this process may not use",
            where="environment",
            fix="ask the scheduler for whole nodes (sbatch --exclusive), or unset it",
        )
    return shares
