"""Two ranks on one device are refused before they start: NCCL names neither, and elsewhere both would train slowly."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist

from weather.errors import LaunchError
from weather.runtime.ranks import Ranks

VERDICT = "weather/devices"  # key of the ranks' store


def physical_device(device: torch.device | None) -> str:
    """What this device is called in every process that uses it; empty where ranks may share: a CPU.

    An index does not do: with `CUDA_VISIBLE_DEVICES` each process counts from 0. Neither does one of the parts: slices
    of one card share its address, and the two dies of another may share its serial number.
    """
    if device is None or device.type != "cuda":
        return ""
    facts: Any = torch.cuda.get_device_properties(device)
    if not hasattr(facts, "pci_bus_id"):
        return ""  # torch before 2.8; RCCL and NCCL refuse what is shared, without names
    address = f"{facts.pci_domain_id:04x}:{facts.pci_bus_id:02x}:{facts.pci_device_id:02x}"
    return f"{socket.gethostname()} {address} {getattr(facts, 'uuid', '')}"


def shared_device(devices: Sequence[str]) -> LaunchError | None:
    """What is wrong if two ranks have the same device.

    Args:
        devices: `physical_device` of each rank.
    """
    holders: dict[str, int] = {}
    for rank, device in enumerate(devices):
        first = holders.setdefault(device, rank) if device else rank
        if first != rank:
            host, _, name = device.partition(" ")
            return LaunchError(
                f"rank {first} and rank {rank} have the same device ({name})",
                where=f"host {host}",
                rule="a device serves one rank",
                fix="start as many ranks on a node as it has devices, and let no CUDA_VISIBLE_DEVICES, "
                "HIP_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES of your shell show the same one to all",
            )
    return None


def refuse_shared_devices(store: dist.Store, ranks: Ranks, device: torch.device | None) -> None:
    """Compare the devices of all ranks; all call it, before their process group takes hold of the devices.

    Args:
        store: that all ranks reach.

    Raises:
        LaunchError: two have the same; all ranks raise it.
    """
    if device is None or device.type != "cuda":
        return  # what kind of device a run has is the same on all ranks, or its backends do not meet
    store.set(f"{VERDICT}/{ranks.rank}", physical_device(device))
    if ranks.first:
        keys = [f"{VERDICT}/{rank}" for rank in range(ranks.world_size)]
        store.wait(keys)
        problem = shared_device([value.decode() for value in store.multi_get(keys)])
        store.set(VERDICT, str(problem or ""))
    verdict = store.get(VERDICT).decode()
    if verdict:
        error = LaunchError(verdict)
        error.agreed = True
        raise error
