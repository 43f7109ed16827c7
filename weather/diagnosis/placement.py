"""Judges where ranks were put: devices that two of them share, cores that overlap, threads, memory domains, memory.

Pure functions of the records of all ranks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.rank_record import VISIBILITY, RankRecord
from weather.presentation.numbers import ranges

# NCCL's buffers between the ranks of a node are in /dev/shm, of which containers by default have 64 MB ("Shared
# memory" in the troubleshooting page of NCCL's documentation).
SMALL_SHARED_MEMORY = 512 * 2**20
IDLE_CORES = 4  # a rank, from which one thread is worth a word


def by_node(records: Sequence[RankRecord]) -> list[list[RankRecord]]:
    """The records of each machine."""
    nodes: dict[str, list[RankRecord]] = defaultdict(list)
    for record in records:
        nodes[record.node].append(record)
    return list(nodes.values())


def join_ranks(records: Sequence[RankRecord]) -> str:
    """Such as "rank 3" or "ranks 0, 1 and 7"; many are counted."""
    numbers = [str(record.rank) for record in records]
    if len(numbers) == 1:
        return f"rank {numbers[0]}"
    if len(numbers) > 9:
        return f"ranks {', '.join(numbers[:6])}, ... ({len(numbers)} ranks)"
    return f"ranks {', '.join(numbers[:-1])} and {numbers[-1]}"


def _cores(numbers: Iterable[int]) -> str:
    """Such as 0-3,8, as Linux and Slurm write them."""
    return ranges(numbers, ",")


def device_section(records: Sequence[RankRecord]) -> Section:
    """The devices of all ranks, and those that two ranks share."""
    columns = ("rank", "host", "kind", "device", "memory_gb", "index", "visible", "visible_by", "device_id")
    section = Section("devices", columns=columns)
    section.facts["kinds"] = sorted({record.kind for record in records})
    for record in records:
        memory = None if record.device_memory is None else round(record.device_memory / 1e9, 1)
        by = [f"{name}={record.variables[name]}" for name in VISIBILITY if record.variables.get(name)]
        visible_by = " ".join(by) or None
        section.rows.append(
            (record.rank, record.host, record.kind, record.device, memory, record.device_index,
             record.visible_devices, visible_by, record.device_id)
        )  # fmt: skip
    for record in records:
        if record.device_error:
            section.find(
                Severity.ERROR,
                "machine.device",
                f"rank {record.rank} on {record.host}: {record.device_error}",
                "show every rank the devices that it needs: one each, or all to all",
            )
    for ranks in by_node(records):
        users: dict[str, list[RankRecord]] = defaultdict(list)
        for record in ranks:
            if record.device_id:
                users[record.device_id].append(record)
        for identity, sharing in users.items():
            if len(sharing) > 1:
                section.find(
                    Severity.ERROR,
                    "machine.shared_device",
                    f"{join_ranks(sharing)} on {sharing[0].host} share one device: {sharing[0].device} ({identity})",
                    "start one rank a device; with srun: --gpus-per-node=N and all devices visible, or "
                    "--gpus-per-task=1 with --ntasks-per-node=N",
                )
    if len(section.facts["kinds"]) > 1:
        section.find(
            Severity.ERROR,
            "machine.device_kinds",
            f"ranks are on different kinds of device: {', '.join(section.facts['kinds'])}",
            "start all ranks on nodes of one kind, or give --device",
        )
    return section


def core_section(records: Sequence[RankRecord]) -> Section:
    """The cores of all ranks: overlap, too many threads, too few."""
    section = Section("cores", columns=("rank", "host", "cores", "count", "of", "threads", "core_numa", "device_numa"))
    for record in records:
        numa = _cores(record.core_numa)
        section.rows.append(
            (record.rank, record.host, _cores(record.cores), len(record.cores), record.machine_cores,
             record.threads, numa, record.device_numa)
        )  # fmt: skip
    for ranks in by_node(records):
        _judge_overlap(section, ranks)
        _judge_threads(section, ranks)
    for record in records:
        _judge_domains(section, record)
    return section


def _judge_overlap(section: Section, ranks: Sequence[RankRecord]) -> None:
    if len(ranks) < 2:
        return
    users: dict[int, list[RankRecord]] = defaultdict(list)
    for record in ranks:
        for core in record.cores:
            users[core].append(record)
    host, fix = ranks[0].host, "bind each rank to cores of its own (srun --cpus-per-task, --cpu-bind)"
    if len(users) < len(ranks):
        section.find(
            Severity.ERROR,
            "machine.affinity",
            f"the {len(ranks)} ranks on {host} have {len(users)} core(s) together: {_cores(users)}, of "
            f"{ranks[0].machine_cores}; a run is slower by the number of ranks a core, or more",
            fix,
        )
        return
    shared = {core: sharing for core, sharing in users.items() if len(sharing) > 1}
    if not shared:
        return
    if len({record.cores for record in ranks}) == 1:
        section.find(
            Severity.NOTE,
            "machine.affinity",
            f"all ranks on {host} may use the same {len(users)} cores: none is bound to its own, the system moves them",
            f"{fix}, so that each stays near its memory and its device",
        )
        return
    sharing_ranks = [record for record in ranks if any(core in shared for core in record.cores)]
    section.find(
        Severity.WARNING,
        "machine.affinity",
        f"{join_ranks(sharing_ranks)} on {host} overlap on core(s) {_cores(shared)}",
        fix,
    )


def _judge_threads(section: Section, ranks: Sequence[RankRecord]) -> None:
    cores = len({core for record in ranks for core in record.cores})
    threads = sum(record.threads for record in ranks)
    host = ranks[0].host
    if cores < len(ranks):  # `_judge_overlap` says so
        return
    if threads > cores:
        section.find(
            Severity.WARNING,
            "machine.threads",
            f"{len(ranks)} rank(s) on {host} start {threads} compute threads on {cores} core(s)",
            f"export OMP_NUM_THREADS={max(1, cores // len(ranks))}",
        )
    elif all(record.threads == 1 for record in ranks) and cores >= IDLE_CORES * len(ranks):
        on_cpu = any(record.kind == "cpu" for record in ranks)
        section.find(
            Severity.WARNING if on_cpu else Severity.NOTE,
            "machine.threads",
            f"each rank on {host} computes with one thread, while there are {cores // len(ranks)} cores for each"
            + (" (torchrun sets OMP_NUM_THREADS=1 where it is not set)" if len(ranks) > 1 else ""),
            f"export OMP_NUM_THREADS={cores // len(ranks)}",
        )


def _judge_domains(section: Section, record: RankRecord) -> None:
    if record.device_numa is None or not record.core_numa or record.device_numa in record.core_numa:
        return
    far = f", distance {min(record.numa_distances)} (10: the same)" if record.numa_distances else ""
    section.find(
        Severity.WARNING,
        "machine.numa",
        f"rank {record.rank} on {record.host}: the device is at memory domain {record.device_numa}, the cores "
        f"{_cores(record.cores)} at {_cores(record.core_numa)}{far}",
        "bind the rank to cores next to its device (srun --gpu-bind=closest, or a core mask by the machine's map)",
    )


def memory_section(records: Sequence[RankRecord]) -> Section:
    """Memory of each host, what a cgroup allows of it, and /dev/shm."""
    columns = ("host", "ranks", "total_gb", "available_gb", "limit_gb", "shm_gb", "shm_free_gb")
    section = Section("memory", columns=columns)
    for ranks in by_node(records):
        one = ranks[0]
        sizes = (one.memory_total, one.memory_available, one.memory_limit, one.shared_memory_total,
                 one.shared_memory_free)  # fmt: skip
        section.rows.append((one.host, len(ranks), *(None if size is None else round(size / 1e9, 1) for size in sizes)))
        small = one.shared_memory_total is not None and one.shared_memory_total < SMALL_SHARED_MEMORY
        if small and len(ranks) > 1 and one.kind in ("cuda", "rocm"):
            section.find(
                Severity.WARNING,
                "machine.shared_memory",
                f"/dev/shm on {one.host} has {(one.shared_memory_total or 0) / 1e6:.0f} MB: NCCL keeps its buffers "
                f"between the {len(ranks)} ranks there",
                "give the container more (docker run --shm-size=1g, or --ipc=host)",
            )
    return section
