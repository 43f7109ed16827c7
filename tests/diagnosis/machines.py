"""Records of ranks as some machine would give them."""

from __future__ import annotations

from typing import Any

from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.rank_record import RankRecord


def record(rank: int = 0, **settings: Any) -> RankRecord:
    """A rank on a machine of 8 cores, bound to one of them, with a device of its own."""
    ordinary: dict[str, Any] = {
        "rank": rank,
        "local_rank": rank,
        "host": "node1",
        "kind": "cuda",
        "device": "Big GPU",
        "device_index": rank,
        "device_memory": 64 * 10**9,
        "device_id": f"uuid-{rank} 0000:0{rank}:00.0",
        "visible_devices": 8,
        "device_error": "",
        "cores": (rank,),
        "machine_cores": 8,
        "threads": 1,
        "device_numa": None,
        "core_numa": (0,),
        "numa_distances": (),
        "memory_total": 512 * 10**9,
        "memory_available": 500 * 10**9,
        "memory_limit": None,
        "shared_memory_total": 256 * 10**9,
        "shared_memory_free": 256 * 10**9,
        "interfaces": {"lo": "127.0.0.1", "hsn0": "10.0.0.1"},
        "host_address": "10.0.0.1",
        "variables": {},
    }
    settings = {**ordinary, **settings}
    return RankRecord(**{"node": f"{settings['host']} boot", **settings})


def found(section: Section) -> list[tuple[str, Severity]]:
    """Checks and severities of a section's findings."""
    return [(finding.check, finding.severity) for finding in section.findings]
