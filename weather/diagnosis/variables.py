"""Judges environment variables: those that conflict, name what is not there, or differ between ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from weather.diagnosis.findings import Finding, Section, Severity
from weather.diagnosis.placement import by_node, join_ranks
from weather.diagnosis.rank_record import RankRecord

# Those of one run agree on all ranks; others (ranks, visible devices, nodes) differ by their nature.
AGREEING = ("NCCL_", "RCCL_", "FI_", "GLOO_", "MASTER_", "OMP_", "HDF5_", "MIOPEN_", "HSA_", "TORCH_")
OWN = ("NCCL_DEBUG_FILE", "MIOPEN_USER_DB_PATH", "MIOPEN_CUSTOM_CACHE_DIR")
LOOPBACK = ("localhost", "127.", "::1")
NEVER_UNDER_ROCM = ("NCCL_ALGO", "NCCL_PROTO", "NCCL_P2P_LEVEL")


def variable_section(records: Sequence[RankRecord]) -> Section:
    """Variables of rank 0, those that differ elsewhere, and what is wrong with any."""
    section = Section("environment variables", facts=dict(records[0].variables))
    section.findings += differing(records)
    machines = len(by_node(records))
    found: dict[Finding, list[RankRecord]] = {}
    for record in records:
        for finding in (*conflicts(record), *obstacles(record, machines)):
            found.setdefault(finding, []).append(record)
    for finding, where in found.items():
        who = "" if len(where) == len(records) else f"{join_ranks(where)}: "
        section.find(finding.severity, finding.check, who + finding.what, finding.fix)
    return section


def differing(records: Sequence[RankRecord]) -> list[Finding]:
    """Variables that should agree on all ranks and do not."""
    found = []
    names = sorted({name for record in records for name in record.variables})
    for name in names:
        if not name.startswith(AGREEING) or name in OWN:
            continue
        values: dict[str | None, list[RankRecord]] = {}
        for record in records:
            values.setdefault(record.variables.get(name), []).append(record)
        if len(values) > 1:
            told = "; ".join(f"{value if value is not None else 'not set'} on {join_ranks(who)}"
                             for value, who in list(values.items())[:4])  # fmt: skip
            found.append(
                Finding(
                    Severity.WARNING,
                    "machine.variables_differ",
                    f"{name} differs between ranks: {told}",
                    "export it before the launcher, and let the launcher carry it to every node",
                )
            )
    return found


def conflicts(record: RankRecord) -> list[Finding]:
    """Combinations of one rank's variables that contradict one another or its device."""
    variables, found = record.variables, []
    if variables.get("ROCR_VISIBLE_DEVICES") and variables.get("HIP_VISIBLE_DEVICES"):
        found.append(
            Finding(
                Severity.ERROR,
                "machine.visible_devices",
                "ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES are both set: the second indexes into what the first "
                "leaves, so that ranks end up on wrong devices",
                "unset one of them",
            )
        )
    if record.kind == "rocm":
        for name in NEVER_UNDER_ROCM:
            if name in variables:
                found.append(
                    Finding(
                        Severity.WARNING,
                        "machine.rccl_tuning",
                        f"{name}={variables[name]} overrides RCCL's own tuner",
                        f"unset {name}",
                    )
                )
    for name in ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"):
        missing = missing_interfaces(name, variables, record.interfaces)
        if missing and (record.kind != "cpu" or name.startswith("GLOO")):
            found.append(
                Finding(
                    Severity.ERROR,
                    "machine.interface",
                    f"{name}={variables[name]} names {', '.join(missing)}, but {record.host} has "
                    f"{', '.join(record.interfaces)}",
                    f"name an interface that is there, or unset {name}",
                )
            )
    return found


def missing_interfaces(name: str, variables: Mapping[str, str], interfaces: Mapping[str, str]) -> list[str]:
    """What the variable names and the host does not have.

    gloo takes whole names; NCCL takes prefixes, with `=` whole names, and with `^` those to leave out ("Environment
    Variables" in NCCL's documentation).
    """
    value = variables.get(name, "")
    if not value or value.startswith("^"):
        return []
    exact = name.startswith("GLOO") or value.startswith("=")
    wanted = [part for part in value.lstrip("=").split(",") if part]
    return [
        part for part in wanted if not any(there == part if exact else there.startswith(part) for there in interfaces)
    ]


def obstacles(record: RankRecord, nodes: int) -> list[Finding]:
    """What would keep this rank from joining those of other nodes."""
    variables, found = record.variables, []
    if nodes < 2:
        return []
    address = variables.get("MASTER_ADDR", "")
    if address.startswith(LOOPBACK):
        found.append(
            Finding(
                Severity.WARNING,
                "machine.master_address",
                f"MASTER_ADDR is {address}, while the launcher speaks of {nodes} nodes: every node means itself by it",
                "set MASTER_ADDR to the first node's address (scontrol show hostnames | head -n1)",
            )
        )
    if record.host_address.startswith("127.") and not variables.get("GLOO_SOCKET_IFNAME"):
        found.append(
            Finding(
                Severity.WARNING,
                "machine.host_address",
                f"{record.host} resolves to {record.host_address}, so that gloo listens where no other node reaches it",
                "export GLOO_SOCKET_IFNAME with the interface that connects the nodes",
            )
        )
    return found
