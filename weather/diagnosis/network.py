"""Measures how ranks reach each other: bandwidth of collectives, latency from rank 0, clocks of the hosts.

Bandwidths are those of nccl-tests (github.com/NVIDIA/nccl-tests, doc/PERFORMANCE.md): the algorithm bandwidth is size
over time, and the bus bandwidth is that times 2 (n - 1) / n for an all-reduce and (n - 1) / n for an all-gather, whose
size is that of the gathered whole: what each rank's link carries, to be compared with the hardware's own rate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist

from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.placement import by_node, join_ranks
from weather.diagnosis.rank_record import RankRecord
from weather.runtime.collectives import gather_from_ranks, on_first_rank

KILOBYTE, MEGABYTE = 2**10, 2**20
CPU_SIZES = (4 * KILOBYTE, 64 * KILOBYTE, MEGABYTE, 16 * MEGABYTE, 64 * MEGABYTE)
DEVICE_SIZES = (*CPU_SIZES, 256 * MEGABYTE)
SECONDS_PER_SIZE = 0.2
MOST_ROUNDS = 100
PINGS = 20
MOST_PEERS = 64  # whose latency is measured
MOST_DEVICE_PEERS = 16  # with NCCL, which makes a communicator for every pair
SLOW_PEER = 3.0  # times the median of its kind
SLOWER_BY = 100e-6  # and by so many seconds
LARGEST_SKEW = 1.0  # seconds; walltimes and the times of files are compared


def bandwidth_section(device: torch.device, sizes: Sequence[int]) -> Section:
    """All-reduce and all-gather over sizes, on every rank together."""
    section = Section(
        "collectives", columns=("operation", "size_bytes", "microseconds", "algorithm_gb_s", "bus_gb_s", "rounds")
    )
    world = dist.get_world_size()
    for operation in ("all_reduce", "all_gather"):
        for size in sizes:
            seconds, rounds = time_collective(operation, size, device)
            algorithm = size / seconds / 1e9
            section.rows.append(
                (operation, size, round(seconds * 1e6, 1), round(algorithm, 3),
                 round(algorithm * bus_factor(operation, world), 3), rounds)
            )  # fmt: skip
    for operation in ("all_reduce", "all_gather"):
        section.facts[f"{operation}_best_bus_gb_s"] = max(row[4] for row in section.rows if row[0] == operation)
    return section


def bus_factor(operation: str, world: int) -> float:
    """Bus bandwidth over algorithm bandwidth."""
    return (2 if operation == "all_reduce" else 1) * (world - 1) / world


def time_collective(operation: str, size: int, device: torch.device) -> tuple[float, int]:
    """Seconds of one operation on `size` bytes, the slowest rank's mean over the rounds; and the rounds."""
    world = dist.get_world_size()
    # torch 2.13 calls it so, and warns of the name that earlier versions know.
    all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
    elements = max(world, size // 4)
    whole = torch.ones(elements - elements % world, device=device)
    part = torch.ones(whole.numel() // world, device=device)

    def once() -> None:
        if operation == "all_reduce":
            dist.all_reduce(whole)
            whole.fill_(1.0)  # or the sums of many rounds overflow, and slow arithmetic down
        else:
            all_gather(whole, part)

    once()
    first = _timed(once, 1, device)
    rounds = on_first_rank(lambda: int(min(MOST_ROUNDS, max(2, SECONDS_PER_SIZE / first))))
    return max(gather_from_ranks(_timed(once, rounds, device) / rounds)), rounds


def _timed(once: Callable[[], None], rounds: int, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    dist.all_reduce(torch.zeros(1))  # all begin together; over gloo, for a barrier may take any device
    began = time.perf_counter()
    for _ in range(rounds):
        once()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def latency_section(records: Sequence[RankRecord], device: torch.device) -> Section:
    """Half the median round trip of 8 bytes between rank 0 and others."""
    section = Section("latency", columns=("rank", "host", "same_host", "microseconds"))
    most = MOST_DEVICE_PEERS if device.type == "cuda" else MOST_PEERS
    peers = spread(range(1, len(records)), most)
    if len(peers) < len(records) - 1:
        section.facts["measured"] = f"{len(peers)} of {len(records) - 1} ranks"
    for peer in peers:
        seconds = ping(peer, device)
        same = records[peer].node == records[0].node
        section.rows.append((peer, records[peer].host, same, None if seconds is None else round(seconds * 1e6, 1)))
    judge_latency(section, records)
    return section


def spread(numbers: Sequence[int], most: int) -> list[int]:
    """At most so many of the numbers, evenly spread, the first and the last among them."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[index * (len(numbers) - 1) // (most - 1)] for index in range(most)]


def judge_latency(section: Section, records: Sequence[RankRecord]) -> None:
    """Name the ranks that are far slower to reach than the others of their kind."""
    for same in (True, False):
        measured = {row[0]: row[3] for row in section.rows if row[2] == same and row[3] is not None}
        if len(measured) < 2:
            continue
        usual = statistics.median_low(measured.values())
        slow = [rank for rank, value in measured.items() if value > max(SLOW_PEER * usual, usual + SLOWER_BY * 1e6)]
        if slow:
            section.find(
                Severity.WARNING,
                "machine.latency",
                f"{join_ranks([records[rank] for rank in slow])} on "
                f"{', '.join(sorted({records[rank].host for rank in slow}))} take {measured[slow[0]]:.0f} us from rank "
                f"0, others {usual:.0f} us",
                "leave these nodes out (sbatch --exclude), or see what else runs on them",
            )


def ping(peer: int, device: torch.device) -> float | None:
    """Seconds one way between rank 0 and `peer`; known on rank 0 only."""
    rank = dist.get_rank()
    message = torch.zeros(2, device=device)
    times = []
    for _ in range(PINGS + 3):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        if rank == 0:
            dist.send(message, peer)
            dist.recv(message, peer)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
        elif rank == peer:
            dist.recv(message, 0)
            dist.send(message, 0)
    return statistics.median(times[3:]) / 2 if times else None


def clock_section(records: Sequence[RankRecord]) -> Section:
    """How far the clocks of the hosts are from that of rank 0's."""
    section = Section("clocks", columns=("host", "ahead_seconds", "uncertain_by_seconds"))
    section.facts["method"] = "offset to rank 0's clock at half the shortest of 10 round trips (Cristian 1989)"
    for ranks in by_node(records):
        if ranks[0].rank == 0:
            continue
        section.rows.append((ranks[0].host, *clock_offset(ranks[0].rank)))
    if not section.rows:
        section.facts["hosts"] = "one: there is one clock"
    judge_clocks(section)
    return section


def judge_clocks(section: Section) -> None:
    """Name the hosts whose clocks are off."""
    for host, ahead, uncertain in section.rows:
        if ahead is not None and abs(ahead) - uncertain > LARGEST_SKEW:
            section.find(
                Severity.WARNING,
                "machine.clock",
                f"the clock of {host} is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} rank 0's",
                "walltimes and times of files are compared between hosts: tell the administrator (chronyc tracking)",
            )


def clock_offset(peer: int, clock: Callable[[], float] = time.time) -> tuple[float | None, float | None]:
    """Seconds by which the peer's clock is ahead of rank 0's, and the error bound; known on rank 0 only."""
    rank = dist.get_rank()
    best: tuple[float, float] | None = None
    for _ in range(10):
        message = torch.zeros(1, dtype=torch.float64)
        began = clock()
        if rank == 0:
            dist.send(message, peer)
            dist.recv(message, peer)
            ended = clock()
            trial = ((ended - began) / 2, float(message) - (began + ended) / 2)
            best = min(best or trial, trial)
        elif rank == peer:
            dist.recv(message, 0)
            message[0] = clock()
            dist.send(message, 0)
    return (None, None) if best is None else (best[1], best[0])
