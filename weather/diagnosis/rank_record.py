"""What one rank sees of its place: host, device, cores, memory, variables. Gathered from all ranks, then judged."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from weather.errors import LaunchError
from weather.runtime.device import choose_device
from weather.runtime.launch import usable_cores
from weather.runtime.ranks import Ranks
from weather.runtime.run_folder import recorded_variables

SYSTEM = Path("/sys/devices/system/node")
VISIBILITY = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
NO_LIMIT = 2**60  # bytes; version 1 of cgroups writes nearly 2**63 for "none"


@dataclass(frozen=True)
class RankRecord:
    """One rank's place. What cannot be told is None or empty.

    Attributes:
        host: for people; node tells machines apart that share a name.
        device: its name, or cpu; device_id names the one physical device: UUID and PCI address.
        device_error: why this rank can have no device.
        cores: that this process may run on, of machine_cores in all.
        device_numa, core_numa: memory domain of the device, and those of the cores.
        numa_distances: from the device's domain to each of core_numa, as the firmware says (10: the same).
        memory: bytes of the host, of it available, and the least limit of the cgroups above this process.
        interfaces: network interfaces and their IPv4 addresses.
        host_address: what the host's own name resolves to.
    """

    rank: int
    local_rank: int
    host: str
    node: str
    kind: str
    device: str
    device_index: int | None
    device_memory: int | None
    device_id: str
    visible_devices: int
    device_error: str
    cores: tuple[int, ...]
    machine_cores: int
    threads: int
    device_numa: int | None
    core_numa: tuple[int, ...]
    numa_distances: tuple[int, ...]
    memory_total: int | None
    memory_available: int | None
    memory_limit: int | None
    shared_memory_total: int | None
    shared_memory_free: int | None
    interfaces: dict[str, str]
    host_address: str
    variables: dict[str, str]


def record_rank(ranks: Ranks, requested_device: str, precision: str) -> RankRecord:
    """Look at this rank's place; a device that cannot be had is part of the record, not a failure."""
    kind, name, error, index, pci = "cpu", "cpu", "", None, ""
    memory: int | None = None
    identity = ""
    try:
        chosen = choose_device(requested_device, precision, ranks)
        kind, name = chosen.kind, chosen.name
        if chosen.torch_device.type == "cuda":
            index = chosen.torch_device.index
            properties = torch.cuda.get_device_properties(index)
            memory, pci = properties.total_memory, pci_address(properties)
            identity = " ".join(part for part in (str(getattr(properties, "uuid", "")), pci) if part)
            identity = identity or _visible_entry(index)
    except (LaunchError, RuntimeError) as failure:  # torch's: a driver that does not answer
        error = " ".join(str(failure).split())
    cores = tuple(usable_cores())
    device_numa = numa_node_of_device(pci)
    core_numa = numa_nodes_of_cores(cores)
    shared = shutil.disk_usage("/dev/shm") if Path("/dev/shm").is_dir() else None
    totals = host_memory()
    return RankRecord(
        rank=ranks.rank,
        local_rank=ranks.local_rank,
        host=socket.gethostname(),
        node=f"{socket.gethostname()} {_read(Path('/proc/sys/kernel/random/boot_id')) or ''}",
        kind=kind,
        device=name,
        device_index=index,
        device_memory=memory,
        device_id=identity,
        visible_devices=torch.cuda.device_count() if kind in ("cuda", "rocm") or error else 0,
        device_error=error,
        cores=cores,
        machine_cores=os.cpu_count() or len(cores),
        threads=torch.get_num_threads(),
        device_numa=device_numa,
        core_numa=core_numa,
        numa_distances=numa_distances(device_numa, core_numa),
        memory_total=totals.get("MemTotal"),
        memory_available=totals.get("MemAvailable"),
        memory_limit=cgroup_memory_limit(),
        shared_memory_total=shared.total if shared else None,
        shared_memory_free=shared.free if shared else None,
        interfaces=interface_addresses(),
        host_address=_host_address(),
        variables=recorded_variables(),
    )


def pci_address(properties: object) -> str:
    """Such as 0000:c1:00.0, as sysfs names the device; empty where torch does not tell."""
    parts = [getattr(properties, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
    if any(part is None for part in parts):
        return ""
    return f"{parts[0]:04x}:{parts[1]:02x}:{parts[2]:02x}.0"


def _visible_entry(index: int) -> str:
    """The device by the variable that decides what is visible, and its place there."""
    name = next((name for name in VISIBILITY if os.environ.get(name)), None)
    entries = os.environ[name].split(",") if name else []
    return f"{name} {entries[index].strip()}" if name and index < len(entries) else f"index {index}"


def numa_node_of_device(pci: str, root: Path = Path("/sys/bus/pci/devices")) -> int | None:
    """Memory domain that a PCI device is attached to; None where the firmware does not say (-1)."""
    text = _read(root / pci / "numa_node") if pci else None
    return int(text) if text is not None and int(text) >= 0 else None


def numa_nodes_of_cores(cores: Iterable[int], root: Path = SYSTEM) -> tuple[int, ...]:
    """Memory domains that hold any of these cores."""
    wanted = set(cores)
    found = []
    for folder in root.glob("node[0-9]*"):
        if wanted & set(expand_list(_read(folder / "cpulist") or "")):
            found.append(int(folder.name[4:]))
    return tuple(sorted(found))


def numa_distances(device_numa: int | None, core_numa: Iterable[int], root: Path = SYSTEM) -> tuple[int, ...]:
    """Distance from the device's memory domain to each of the cores' (10: the same)."""
    text = _read(root / f"node{device_numa}" / "distance") if device_numa is not None else None
    row = [int(word) for word in (text or "").split()]
    return tuple(row[node] for node in core_numa if node < len(row))


def expand_list(text: str) -> list[int]:
    """The kernel's lists: ``0-3,8`` gives [0, 1, 2, 3, 8]."""
    numbers: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def host_memory() -> dict[str, int]:
    """Bytes by the names of /proc/meminfo."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", _read(Path("/proc/meminfo")) or "", re.MULTILINE)
    return {name: 1024 * int(kilobytes) for name, kilobytes in found}


def cgroup_memory_limit(own: str | None = None, root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least memory limit of the cgroups above this process, version 1 or 2; None: no limit is known.

    Args:
        own: contents of /proc/self/cgroup.
    """
    limits = []
    for line in ((_read(Path("/proc/self/cgroup")) or "") if own is None else own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, file = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        place = mount / path.lstrip("/")
        for folder in (place, *place.parents):
            text = _read(folder / file)
            if text is not None and text.isdigit() and int(text) < NO_LIMIT:
                limits.append(int(text))
            if folder == root:
                break
    return min(limits, default=None)


def interface_addresses() -> dict[str, str]:
    """Network interfaces with their IPv4 address, empty where one has none."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            found[name] = _interface_address(probe, name)
    return found


def _interface_address(probe: socket.socket, name: str) -> str:
    import fcntl

    request = name.encode()[:15].ljust(256, b"\0")
    try:
        answer = fcntl.ioctl(probe.fileno(), 0x8915, request)  # SIOCGIFADDR of Linux, netdevice(7)
    except OSError:
        return ""
    return socket.inet_ntoa(answer[20:24])


def _host_address() -> str:
    try:
        return socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
