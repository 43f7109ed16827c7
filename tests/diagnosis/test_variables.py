"""Environment variables that conflict, name nothing, or differ."""

from __future__ import annotations

import pytest

from tests.diagnosis.machines import found, record
from weather.diagnosis.findings import Severity
from weather.diagnosis.variables import missing_interfaces, obstacles, variable_section


def test_variables_that_agree_are_listed_and_left_in_peace() -> None:
    variables = {"NCCL_SOCKET_IFNAME": "hsn", "OMP_NUM_THREADS": "7"}
    section = variable_section([record(rank, variables=variables) for rank in range(3)])
    assert section.facts == variables and not section.findings


def test_both_visibility_variables_are_an_error() -> None:
    both = {"ROCR_VISIBLE_DEVICES": "0", "HIP_VISIBLE_DEVICES": "0"}
    section = variable_section([record(0, variables=both), record(1)])
    assert found(section) == [("machine.visible_devices", Severity.ERROR)]
    assert section.findings[0].what.startswith("rank 0: ")


def test_an_algorithm_is_a_warning_under_rocm_only() -> None:
    forced = {"NCCL_ALGO": "Ring"}
    assert found(variable_section([record(kind="rocm", variables=forced)])) == [
        ("machine.rccl_tuning", Severity.WARNING)
    ]
    assert not found(variable_section([record(kind="cuda", variables=forced)]))


@pytest.mark.parametrize(
    ("name", "value", "missing"),
    [
        ("NCCL_SOCKET_IFNAME", "hsn", []),
        ("NCCL_SOCKET_IFNAME", "=hsn", ["hsn"]),
        ("NCCL_SOCKET_IFNAME", "=hsn0", []),
        ("NCCL_SOCKET_IFNAME", "^docker", []),
        ("NCCL_SOCKET_IFNAME", "ib0,hsn0", ["ib0"]),
        ("GLOO_SOCKET_IFNAME", "hsn", ["hsn"]),
        ("GLOO_SOCKET_IFNAME", "hsn0", []),
    ],
)
def test_interfaces_that_are_not_there(name: str, value: str, missing: list[str]) -> None:
    assert missing_interfaces(name, {name: value}, record().interfaces) == missing
    section = variable_section([record(variables={name: value})])
    assert found(section) == [("machine.interface", Severity.ERROR)] * bool(missing)


def test_what_differs_between_ranks_is_told_with_its_values() -> None:
    ranks = [record(0, variables={"FI_PROVIDER": "cxi"}), record(1), record(2, variables={"FI_PROVIDER": "cxi"})]
    section = variable_section(ranks)
    assert found(section) == [("machine.variables_differ", Severity.WARNING)]
    assert "FI_PROVIDER differs between ranks: cxi on ranks 0 and 2; not set on rank 1" in section.findings[0].what


def test_what_differs_by_nature_is_not_told() -> None:
    ranks = [record(rank, variables={"SLURM_LOCALID": str(rank), "CUDA_VISIBLE_DEVICES": str(rank)}) for rank in (0, 1)]
    assert not variable_section(ranks).findings


def test_loopback_is_an_obstacle_between_nodes_only() -> None:
    lost = record(variables={"MASTER_ADDR": "localhost"}, host_address="127.0.1.1")
    assert [finding.check for finding in obstacles(lost, 2)] == ["machine.master_address", "machine.host_address"]
    assert not obstacles(lost, 1)
    named = record(variables={"GLOO_SOCKET_IFNAME": "hsn0", "MASTER_ADDR": "10.0.0.1"}, host_address="127.0.1.1")
    assert not obstacles(named, 2)
