"""Bandwidth by the formula of nccl-tests, slow peers, clocks, and what NCCL's log says."""

from __future__ import annotations

import pytest

from tests.diagnosis.machines import found, record
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.network import bus_factor, judge_clocks, judge_latency, spread
from weather.diagnosis.plugin import gloo_interface, network_of, plugin_section

LOG = """node1:7:7 [0] NCCL INFO NET/Plugin: Failed to find ncclCollNetPlugin symbol (>= v5).
node1:7:9 [0] NCCL INFO NET/OFI Initializing aws-ofi-nccl 1.14.0
node1:7:9 [0] NCCL INFO Using network AWS Libfabric
node1:7:9 [0] NCCL INFO ncclCommInitRank comm 0x1 rank 0 nranks 8
"""
OLD_LOG = (
    "ip-1:7:7 [0] NCCL INFO NET/IB : No device found.\nip-1:7:7 [0] NCCL INFO NET/Socket : Using [0]ens3:10.0.0.1\n"
)


def test_bus_bandwidth_has_the_factors_of_nccl_tests() -> None:
    assert bus_factor("all_reduce", 2) == 1.0 and bus_factor("all_reduce", 8) == 1.75
    assert bus_factor("all_gather", 2) == 0.5 and bus_factor("all_gather", 8) == 0.875


def test_a_slow_peer_is_named_among_those_of_its_kind() -> None:
    ranks = [record(rank, host="node1" if rank < 4 else f"node{rank}") for rank in range(8)]
    times = {1: 20.0, 2: 22.0, 3: 21.0, 4: 300.0, 5: 310.0, 6: 4000.0, 7: 305.0}
    section = Section("latency", columns=("rank", "host", "same_host", "microseconds"))
    section.rows = [(rank, ranks[rank].host, rank < 4, time) for rank, time in times.items()]
    judge_latency(section, ranks)
    assert found(section) == [("machine.latency", Severity.WARNING)]
    assert "rank 6 on node6 take 4000 us from rank 0, others 305 us" in section.findings[0].what


def test_peers_are_spread_over_all() -> None:
    assert spread(range(1, 5), 64) == [1, 2, 3, 4]
    chosen = spread(range(1, 1000), 64)
    assert len(set(chosen)) == 64 and chosen[0] == 1 and chosen[-1] == 999


@pytest.mark.parametrize(("ahead", "uncertain", "warns"), [(-3.0, 0.1, True), (0.9, 0.0, False), (1.5, 0.8, False)])
def test_a_clock_is_off_if_its_error_cannot_explain_it(ahead: float, uncertain: float, warns: bool) -> None:
    section = Section("clocks", rows=[("node2", ahead, uncertain)])
    judge_clocks(section)
    assert bool(section.findings) == warns


def test_the_network_is_read_out_of_old_and_new_logs() -> None:
    assert network_of(LOG) == "AWS Libfabric" and network_of(OLD_LOG) == "Socket" and network_of("") is None


@pytest.mark.parametrize(
    ("hosts", "wanted", "network", "expected"),
    [
        (("a", "b"), "", "AWS Libfabric", []),
        (("a", "b"), "", "Socket", [("machine.network", Severity.WARNING)]),
        (("a", "b"), "OFI", "Socket", [("machine.network", Severity.ERROR)]),
        (("a", "b"), "Socket", "Socket", [("machine.network", Severity.WARNING)]),
        (("a", "a"), "", "Socket", []),
        (("a", "b"), "", None, [("machine.network", Severity.WARNING)]),
        (("a", "a"), "", None, [("machine.network", Severity.NOTE)]),
    ],
)
def test_plain_sockets_between_nodes(
    hosts: tuple[str, str], wanted: str, network: str | None, expected: list[tuple[str, Severity]]
) -> None:
    variables = {"NCCL_NET": wanted} if wanted else {}
    ranks = [record(rank, host=host, variables=variables) for rank, host in enumerate(hosts)]
    assert found(plugin_section(ranks, "nccl", [network, network])) == expected


def test_gloo_listens_on_the_named_interface_or_that_of_the_host() -> None:
    assert gloo_interface(record(variables={"GLOO_SOCKET_IFNAME": "ib0"})).startswith("ib0 ")
    assert gloo_interface(record()).startswith("hsn0, 10.0.0.1")
    assert "other nodes cannot reach it" in gloo_interface(record(interfaces={}, host_address="127.0.1.1"))
