"""The accelerator of this rank: CUDA, ROCm, MPS or CPU; its precision, backend, memory and peak rate."""

from __future__ import annotations

import contextlib
import ctypes
import os
from dataclasses import dataclass

import torch

from weather.errors import LaunchError
from weather.runtime.ranks import Ranks

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3)
DEVICES = ("auto", "cuda", "rocm", "mps", "cpu")

# Dense peak TFLOP/s by (part of the device's name, precision), without sparsity. MI250X is one of its two dies (GCD).
# Sources: vendors' data sheets. An unknown device has no peak, and then no MFU is reported: never a guess.
PEAK_TFLOPS = {
    ("H100 PCIe", "bf16"): 756.0,
    ("H100", "bf16"): 989.0,
    ("H200", "bf16"): 989.0,
    ("A100", "bf16"): 312.0,
    ("MI250X", "bf16"): 191.5,
    ("MI300X", "bf16"): 1307.0,
}
OTHER_PEAKS = ("MIG ", "NVL")  # slices and variants that carry one of these names but not its peak


@dataclass(frozen=True)
class Device:
    """One rank's device.

    Attributes:
        kind: cuda | rocm | mps | cpu. ROCm calls itself "cuda" in torch and is told apart by `torch.version.hip`.
        torch_device: what tensors are moved to.
        precision: fp32 | bf16 | fp16, resolved.
        backend: of the process group.
    """

    kind: str
    torch_device: torch.device
    precision: str
    backend: str

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """Compute type inside autocast; None for fp32."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """The compute precision of a forward pass."""
        if self.autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.torch_device.type, dtype=self.autocast_dtype)

    @property
    def name(self) -> str:
        return torch.cuda.get_device_name(self.torch_device) if self.torch_device.type == "cuda" else self.kind

    @property
    def peak_flops(self) -> float | None:
        """Peak FLOP/s at this precision, or None where it is not known."""
        precision = "bf16" if self.precision == "fp16" else self.precision
        for (part, name), tflops in PEAK_TFLOPS.items():
            if part in self.name and name == precision and not any(other in self.name for other in OTHER_PEAKS):
                return tflops * 1e12
        return None

    def memory_gigabytes(self) -> float:
        """Peak memory so far: of the device, or on CPU the resident set of this process."""
        if self.torch_device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.torch_device) / 1e9
        if self.torch_device.type == "mps":
            return torch.mps.driver_allocated_memory() / 1e9
        import resource
        import sys

        # ru_maxrss counts kilobytes on Linux and bytes on macOS.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def choose_device(requested: str, precision: str, ranks: Ranks) -> Device:
    """The device of this rank and what runs on it.

    With all devices visible, a rank takes the one with its local index. A launcher that shows each task its own
    device only (`srun --gpus-per-task=1`) leaves one, and that is index 0.

    Args:
        requested: auto | cuda | rocm | mps | cpu.
        precision: auto | fp32 | bf16 | fp16.

    Raises:
        LaunchError: the device is not there, is too small a set for the local ranks, or cannot serve the precision.
    """
    if requested not in DEVICES:
        raise LaunchError(f"unknown device '{requested}'", where="--device", rule=f"one of {', '.join(DEVICES)}")
    if requested != "cpu" and os.environ.get("ROCR_VISIBLE_DEVICES") and os.environ.get("HIP_VISIBLE_DEVICES"):
        raise LaunchError(
            "ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES are both set",
            where="environment",
            rule="the second indexes into what the first leaves, so that ranks end up on wrong devices",
            fix="unset one of them",
        )
    there = available_kind()
    kind = there if requested == "auto" else requested
    if kind != "cpu" and kind != there:
        raise LaunchError(
            f"no {kind} device is available",
            where="--device",
            rule=f"this machine offers {there}",
            fix="--device cpu runs everywhere",
        )
    if kind in ("cuda", "rocm"):
        return Device(kind, _cuda_device(ranks), _precision(kind, precision), "nccl")
    if kind == "mps":
        if ranks.world_size > 1:
            raise LaunchError(
                f"{ranks.world_size} ranks on mps",
                rule="mps serves a single process",
                fix="start one process, or use --device cpu",
            )
        return Device(kind, torch.device("mps"), _precision(kind, precision), "gloo")
    keep_freed_memory()
    return Device("cpu", torch.device("cpu"), _precision("cpu", precision), "gloo")


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of giving it back to the system.

    The activations of a step are freed and allocated anew in the next one. By default glibc maps each large block
    afresh, and the page faults cost 15 % of a CPU step of the `base` config (`weather.bench step`). Elsewhere than on
    glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)


def available_kind() -> str:
    """What this machine's torch can use: cuda, rocm, mps or cpu."""
    if torch.cuda.is_available():
        return "rocm" if torch.version.hip else "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def wait_for(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _cuda_device(ranks: Ranks) -> torch.device:
    visible = torch.cuda.device_count()
    # srun shows each task its own device; torchrun and deepspeed show all to all.
    shared = ranks.local_world_size > 1 and ranks.launcher in ("torchrun", "deepspeed")
    if visible == 1 and not shared:
        index = 0
    elif ranks.local_world_size <= visible:
        index = ranks.local_rank
    else:
        raise LaunchError(
            f"local rank {ranks.local_rank} has no device: {visible} visible, {ranks.local_world_size} local ranks",
            rule="as many visible devices as local ranks, or exactly one per rank",
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def _precision(kind: str, precision: str) -> str:
    if precision == "auto":
        has_bf16 = kind in ("cuda", "rocm") and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if has_bf16 else "fp32"
    if kind == "mps" and precision != "fp32":
        raise LaunchError(f"precision {precision} on mps", rule="mps trains in fp32", fix="--precision fp32")
    if kind == "cuda" and precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise LaunchError("precision bf16 on a device without it", fix="--precision fp16 or fp32")
    return precision
