"""What a rank reads of its place: the kernel's files, this very process."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from weather.diagnosis.rank_record import (
    cgroup_memory_limit,
    expand_list,
    numa_distances,
    numa_node_of_device,
    numa_nodes_of_cores,
    pci_address,
    record_rank,
)
from weather.runtime.ranks import Ranks


def test_this_process_is_recorded() -> None:
    here = record_rank(Ranks(), "cpu", "fp32")
    assert here.kind == "cpu" and not here.device_error
    assert here.cores == tuple(sorted(os.sched_getaffinity(0))) and here.threads == torch.get_num_threads()
    assert here.memory_total and here.memory_available and here.memory_available < here.memory_total
    assert here.interfaces["lo"] == "127.0.0.1"


def test_a_device_that_is_not_there_is_recorded_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = record_rank(Ranks(), "rocm", "fp32")
    assert here.kind == "cpu" and "no rocm device is available" in here.device_error


def test_memory_domains_of_device_and_cores(tmp_path: Path) -> None:
    for node, (cores, distance) in enumerate([("0-3,8-11", "10 32"), ("4-7,12-15", "32 10")]):
        folder = tmp_path / f"node{node}"
        folder.mkdir()
        (folder / "cpulist").write_text(cores + "\n")
        (folder / "distance").write_text(distance + "\n")
    assert numa_nodes_of_cores([2, 9], tmp_path) == (0,)
    assert numa_nodes_of_cores([3, 4], tmp_path) == (0, 1)
    assert numa_distances(1, (0,), tmp_path) == (32,) and numa_distances(None, (0,), tmp_path) == ()
    address = pci_address(SimpleNamespace(pci_domain_id=0, pci_bus_id=0xC1, pci_device_id=0))
    assert address == "0000:c1:00.0" and pci_address(SimpleNamespace()) == ""
    (tmp_path / address).mkdir()
    (tmp_path / address / "numa_node").write_text("1\n")
    assert numa_node_of_device(address, tmp_path) == 1 and numa_node_of_device("", tmp_path) is None
    (tmp_path / address / "numa_node").write_text("-1\n")
    assert numa_node_of_device(address, tmp_path) is None


def test_the_least_limit_of_the_cgroups_counts(tmp_path: Path) -> None:
    inner = tmp_path / "job" / "step"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("2000\n")
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "job" / "memory.max").write_text("1000\n")
    assert cgroup_memory_limit("0::/job/step", tmp_path) == 1000
    assert cgroup_memory_limit("0::/other", tmp_path) is None
    first = tmp_path / "memory" / "job"
    first.mkdir(parents=True)
    (first / "memory.limit_in_bytes").write_text("500\n")
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{2**63 - 4096}\n")
    assert cgroup_memory_limit("4:memory:/job", tmp_path) == 500
    assert cgroup_memory_limit("4:cpuset:/job", tmp_path) is None


def test_lists_of_the_kernel() -> None:
    assert expand_list("0-3,8") == [0, 1, 2, 3, 8] and expand_list("") == []
