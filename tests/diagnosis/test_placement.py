"""What is said of where ranks were put: devices, cores, threads, memory domains."""

from __future__ import annotations

import pytest

from tests.diagnosis.machines import found, record
from weather.diagnosis.findings import Severity
from weather.diagnosis.placement import core_section, device_section, join_ranks, memory_section


def test_ranks_with_devices_and_cores_of_their_own_are_left_in_peace() -> None:
    ranks = [record(rank) for rank in range(4)]
    assert not found(device_section(ranks)) and not found(core_section(ranks)) and not found(memory_section(ranks))


def test_two_ranks_on_one_device_are_named_with_it() -> None:
    ranks = [record(0), record(1, device_id=record(0).device_id), record(2)]
    section = device_section(ranks)
    assert found(section) == [("machine.shared_device", Severity.ERROR)]
    assert "ranks 0 and 1 on node1" in section.findings[0].what and "uuid-0" in section.findings[0].what


def test_the_same_device_number_on_two_machines_is_two_devices() -> None:
    assert not found(device_section([record(0), record(1, host="node2", device_id=record(0).device_id)]))


def test_a_rank_without_a_device_and_mixed_kinds_are_errors() -> None:
    section = device_section([record(0), record(1, kind="cpu", device_id="", device_error="no device, 1 visible")])
    assert found(section) == [("machine.device", Severity.ERROR), ("machine.device_kinds", Severity.ERROR)]
    assert "rank 1 on node1: no device, 1 visible" in section.findings[0].what


def test_all_ranks_on_one_core_is_an_error() -> None:
    section = core_section([record(rank, cores=(0,)) for rank in range(4)])
    assert found(section) == [("machine.affinity", Severity.ERROR)]
    assert "the 4 ranks on node1 have 1 core(s) together: 0, of 8" in section.findings[0].what


def test_overlap_is_a_warning_that_names_ranks_and_cores() -> None:
    ranks = [record(0, cores=(0, 1)), record(1, cores=(1, 2)), record(2, cores=(3, 4))]
    section = core_section(ranks)
    assert found(section) == [("machine.affinity", Severity.WARNING)]
    assert "ranks 0 and 1 on node1 overlap on core(s) 1" in section.findings[0].what


def test_ranks_that_nobody_bound_are_a_note() -> None:
    section = core_section([record(rank, cores=tuple(range(8)), threads=4) for rank in range(2)])
    assert found(section) == [("machine.affinity", Severity.NOTE)]


def test_the_same_cores_on_two_machines_do_not_overlap() -> None:
    assert not found(core_section([record(0, cores=(0, 1)), record(1, host="node2", cores=(0, 1))]))


def test_more_threads_than_cores_is_a_warning_with_the_right_number() -> None:
    section = core_section([record(rank, cores=(2 * rank, 2 * rank + 1), threads=4) for rank in range(2)])
    assert found(section) == [("machine.threads", Severity.WARNING)]
    assert "8 compute threads on 4 core(s)" in section.findings[0].what
    assert section.findings[0].fix == "export OMP_NUM_THREADS=2"


@pytest.mark.parametrize(("kind", "severity"), [("cpu", Severity.WARNING), ("cuda", Severity.NOTE)])
def test_one_thread_beside_idle_cores_matters_most_on_cpu(kind: str, severity: Severity) -> None:
    ranks = [record(rank, kind=kind, cores=tuple(range(4 * rank, 4 * rank + 4))) for rank in range(2)]
    assert found(core_section(ranks)) == [("machine.threads", severity)]


def test_cores_far_from_the_device_are_a_warning() -> None:
    section = core_section([record(0, device_numa=1, core_numa=(0,), numa_distances=(32,))])
    assert found(section) == [("machine.numa", Severity.WARNING)]
    assert "distance 32" in section.findings[0].what
    assert not found(core_section([record(0, device_numa=1, core_numa=(0, 1))]))


def test_small_shared_memory_matters_to_several_ranks_with_devices() -> None:
    small = {"shared_memory_total": 64 * 2**20}
    assert found(memory_section([record(0, **small), record(1, **small)])) == [
        ("machine.shared_memory", Severity.WARNING)
    ]
    assert not found(memory_section([record(0, **small)]))


def test_lists_are_written_short() -> None:
    assert join_ranks([record(3)]) == "rank 3"
    assert join_ranks([record(rank) for rank in range(20)]) == "ranks 0, 1, 2, 3, 4, 5, ... (20 ranks)"
