"""Which network the collectives take: what NCCL says of itself in its log, which interface gloo listens on."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.placement import by_node
from weather.diagnosis.rank_record import RankRecord

SOCKETS = "Socket"  # NCCL's name for plain TCP


@contextlib.contextmanager
def nccl_log() -> Iterator[Path]:
    """A file that NCCL writes its log to, where it has not been started in this process yet.

    NCCL reads its variables once, with the first communicator: it goes on writing there after this has ended.
    """
    folder = tempfile.mkdtemp(prefix="weather_doctor_")
    path = Path(folder) / "nccl.log"
    os.environ.update(NCCL_DEBUG="INFO", NCCL_DEBUG_SUBSYS="INIT,NET", NCCL_DEBUG_FILE=str(path))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        Path(folder).rmdir()


def network_of(log: str) -> str | None:
    """The network that NCCL chose; None where its log does not say."""
    named = re.findall(r"Using network (\S.*?)\s*$", log, re.MULTILINE)
    if named:
        return str(named[-1])
    older = re.findall(r"NCCL INFO NET/(\w+)\s*: Using", log)
    return str(older[-1]) if older else None


def plugin_section(records: Sequence[RankRecord], backend: str, networks: Sequence[str | None]) -> Section:
    """The network of every rank, and whether it is the one that was meant.

    Args:
        backend: nccl or gloo.
        networks: by rank, out of NCCL's logs; all None with gloo.
    """
    section = Section("network", facts={"backend": backend})
    machines = len(by_node(records))
    if backend == "gloo":
        section.facts["interface"] = gloo_interface(records[0])
        section.facts["plugin"] = "none: gloo takes TCP"
        return section
    wanted = records[0].variables.get("NCCL_NET", "")
    section.facts.update(intended=wanted or "not said (NCCL_NET)", loaded=sorted({str(name) for name in networks}))
    if machines == 1:
        section.facts["used"] = "not between the ranks of one machine: links of the node or shared memory"
    if None in networks:
        section.find(
            Severity.WARNING if machines > 1 else Severity.NOTE,
            "machine.network",
            "it cannot be told which network NCCL took: its log does not say",
            "look for yourself: NCCL_DEBUG=INFO",
        )
    on_sockets = [record for record, name in zip(records, networks, strict=True) if name == SOCKETS]
    if on_sockets and machines > 1:
        meant = wanted and wanted.lower() != SOCKETS.lower()
        section.find(
            Severity.ERROR if meant else Severity.WARNING,
            "machine.network",
            f"{len(on_sockets)} of {len(records)} ranks reach other nodes by plain TCP"
            + (f", though NCCL_NET={wanted}" if meant else ": no network plugin was loaded"),
            "load the machine's plugin (on Slingshot: rccl-net-plugin or aws-ofi-nccl) and set NCCL_NET to its name",
        )
    return section


def gloo_interface(record: RankRecord) -> str:
    """The interface that gloo listens on, by its rule: the variable, else that of the host's own name."""
    named = record.variables.get("GLOO_SOCKET_IFNAME")
    if named:
        return f"{named} (GLOO_SOCKET_IFNAME)"
    for name, address in record.interfaces.items():
        if address and address == record.host_address:
            return f"{name}, {address} (the address of {record.host})"
    loopback = "; loopback, other nodes cannot reach it" if record.host_address.startswith("127.") else ""
    return f"that of {record.host_address or 'an unknown address'} (the address of {record.host}){loopback}"
