"""Examines the machine under all ranks: what was started where, how they reach each other, where checkpoints go."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.disk import disk_section
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.network import CPU_SIZES, DEVICE_SIZES, bandwidth_section, clock_section, latency_section
from weather.diagnosis.placement import by_node, core_section, device_section, memory_section
from weather.diagnosis.plugin import nccl_log, network_of, plugin_section
from weather.diagnosis.rank_record import RankRecord, record_rank
from weather.diagnosis.variables import variable_section
from weather.runtime.collectives import gather_from_ranks
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import software

Say = Callable[[str], None]


def examine_machine(config: ConfigWrapper, ranks: Ranks, requested_device: str, say: Say) -> list[Section]:
    """Examine on every rank, all of them in the process group; the sections are rank 0's.

    Args:
        requested_device: auto | cuda | rocm | mps | cpu.
        say: tells people what is going on.
    """
    record = record_rank(ranks, requested_device, config.training.precision)
    records = gather_from_ranks(record)
    devices = device_section(records)
    sections = [
        software_section(ranks),
        launch_section(ranks, records),
        devices,
        core_section(records),
        memory_section(records),
        variable_section(records),
    ]
    if ranks.world_size > 1:
        sound = not devices.findings and record.kind in ("cuda", "rocm")
        device = torch.device("cuda", record.device_index or 0) if sound else torch.device("cpu")
        sections += measure_network(records, device, say)
    say("writing into the folder of the checkpoints")
    return [*sections, disk_section(config, ranks)]


def measure_network(records: Sequence[RankRecord], device: torch.device, say: Say) -> list[Section]:
    """Collectives, latency and clocks, on the backend that a run on this device has."""
    on_device = device.type == "cuda"
    with contextlib.ExitStack() as stack:
        log: Path | None = stack.enter_context(nccl_log()) if on_device else None
        say("measuring all-reduce and all-gather")
        bandwidth = bandwidth_section(device, DEVICE_SIZES if on_device else CPU_SIZES)
        network = network_of(log.read_text(errors="replace")) if log is not None and log.exists() else None
    networks = gather_from_ranks(network)
    say("measuring latency and clocks")
    return [
        plugin_section(records, "nccl" if on_device else "gloo", networks),
        bandwidth,
        latency_section(records, device),
        clock_section(records),
    ]


def software_section(ranks: Ranks) -> Section:
    """Versions on rank 0, and nodes that have others."""
    versions = gather_from_ranks(software() if ranks.local_rank == 0 else None)
    own: dict[str, Any] = versions[0] or software()
    packages = {name: version for name, version in own["packages"].items() if version}
    section = Section("software", facts={**{k: v for k, v in own.items() if k != "packages"}, **packages})
    for rank, other in enumerate(versions):
        for name in () if other is None else ("python", "packages", "cuda", "hip", "nccl", "commit"):
            if other is not None and other[name] != own[name]:
                section.find(
                    Severity.ERROR,
                    "machine.versions_differ",
                    f"{name} is {_changed(other[name], own[name])} on rank {rank}, {_changed(own[name], other[name])} "
                    "on rank 0",
                    "start all ranks from one environment and one tree",
                )
    if own["commit"] is not None and own["commit"].endswith("+changes"):
        section.find(
            Severity.NOTE, "machine.commit", "the tree differs from its commit", "commit what a run is to be known by"
        )
    return section


def _changed(one: Any, other: Any) -> Any:
    """Of two dicts, the part of the first that differs; else the first."""
    return {k: v for k, v in one.items() if other.get(k) != v} if isinstance(one, dict) else one


def launch_section(ranks: Ranks, records: Sequence[RankRecord]) -> Section:
    """How many ranks were started where, by whom."""
    machines = by_node(records)
    section = Section("launch", facts={
        "launcher": ranks.launcher, "ranks": ranks.world_size, "nodes": ranks.nodes, "machines": len(machines),
        "ranks_per_machine": sorted({len(each) for each in machines}),
        "master": f"{ranks.master_address}:{ranks.master_port}" if ranks.launcher != "single" else None,
    })  # fmt: skip
    if len({len(each) for each in machines}) > 1:
        section.find(
            Severity.WARNING,
            "machine.uneven_ranks",
            f"machines have different numbers of ranks: "
            f"{', '.join(f'{each[0].host} {len(each)}' for each in machines[:8])}",
            "ask for the same number of tasks on every node (--ntasks-per-node)",
        )
    if ranks.world_size == 1:
        section.find(
            Severity.NOTE,
            "machine.ranks",
            "one rank: network, latency and clocks were not measured",
            "start it as the run will be: torchrun --nproc-per-node N -m weather.doctor, or srun",
        )
    return section
