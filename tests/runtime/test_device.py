"""Which device a rank takes and in which precision it computes; accelerators stand in where there are none."""

from __future__ import annotations

import pytest
import torch

from weather.errors import LaunchError
from weather.runtime import device as device_module
from weather.runtime.device import Device, available_kind, choose_device
from weather.runtime.ranks import Ranks


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


class Machine:
    """A machine with accelerators that are not there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.current: list[torch.device] = []

    def has(self, kind: str, visible: int = 1, bf16: str = "native", name: str = "") -> Machine:
        """`bf16`: native, emulated or none."""
        patch = self.monkeypatch.setattr
        patch(device_module, "available_kind", lambda: kind)
        patch(torch.cuda, "device_count", lambda: visible)
        patch(torch.cuda, "set_device", self.current.append)
        patch(torch.cuda, "get_device_name", lambda *_: name)
        patch(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: bf16 == "native" or (bf16 == "emulated" and including_emulation),
        )
        return self


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def rank(local_rank: int, local_world_size: int, launcher: str = "torchrun") -> Ranks:
    return Ranks(local_rank, local_world_size, local_rank, local_world_size, launcher)


# --- CPU ---


@pytest.mark.parametrize("kind", ["cuda", "rocm", "mps", "cpu"])
def test_cpu_is_always_possible(machine: Machine, kind: str) -> None:
    machine.has(kind)
    device = choose_device("cpu", "auto", rank(1, 2))
    assert (device.kind, device.torch_device.type, device.precision, device.backend) == ("cpu", "cpu", "fp32", "gloo")
    assert not machine.current


def test_cpu_is_possible_whatever_says_which_accelerators_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0")
    assert choose_device("cpu", "auto", Ranks()).kind == "cpu"


def test_auto_takes_cpu_where_there_is_nothing_else(machine: Machine) -> None:
    machine.has("cpu")
    assert choose_device("auto", "auto", Ranks()).kind == "cpu"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", None), ("bf16", torch.bfloat16), ("fp16", torch.float16), ("auto", None)]
)
def test_precision_on_cpu(precision: str, dtype: torch.dtype | None) -> None:
    device = choose_device("cpu", precision, Ranks())
    assert device.autocast_dtype == dtype
    with device.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (dtype or torch.float32)


def test_memory_of_a_cpu_is_that_of_the_process() -> None:
    device = choose_device("cpu", "fp32", Ranks())
    # A Python process with PyTorch holds some 0.1 to 2 GB; other units would be off by a thousand.
    assert 0.05 < device.memory_gigabytes() < 20
    assert device.peak_flops is None


# --- what is there ---


def test_unknown_device_lists_the_known_ones() -> None:
    with pytest.raises(LaunchError, match=r"unknown device 'tpu'.*auto, cuda, rocm, mps, cpu"):
        choose_device("tpu", "auto", Ranks())


@pytest.mark.parametrize(("asked", "there"), [("cuda", "cpu"), ("mps", "cpu"), ("cuda", "rocm"), ("rocm", "cuda")])
def test_a_device_that_is_not_there_is_refused_with_what_is(machine: Machine, asked: str, there: str) -> None:
    machine.has(there)
    with pytest.raises(LaunchError, match=f"no {asked} device.*offers {there}.*--device cpu"):
        choose_device(asked, "auto", Ranks())


@pytest.mark.parametrize(
    ("cuda", "hip", "mps", "kind"),
    [
        (True, None, False, "cuda"),
        (True, "6.4.43482", False, "rocm"),
        (False, None, True, "mps"),
        (False, None, False, "cpu"),
    ],
)
def test_rocm_is_told_apart_from_cuda(
    monkeypatch: pytest.MonkeyPatch, cuda: bool, hip: str | None, mps: bool, kind: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert available_kind() == kind


# --- CUDA and ROCm ---


@pytest.mark.parametrize("kind", ["cuda", "rocm"])
def test_with_all_devices_visible_a_rank_takes_its_own(machine: Machine, kind: str) -> None:
    machine.has(kind, visible=4)
    device = choose_device("auto", "auto", rank(3, 4))
    assert (device.kind, device.torch_device, device.backend) == (kind, torch.device("cuda", 3), "nccl")
    assert machine.current == [torch.device("cuda", 3)]


@pytest.mark.parametrize("launcher", ["SLURM", "OpenMPI", "PMI"])
def test_a_task_that_sees_one_device_takes_that(machine: Machine, launcher: str) -> None:
    machine.has("rocm", visible=1)
    assert choose_device("rocm", "auto", rank(5, 8, launcher)).torch_device == torch.device("cuda", 0)


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_ranks_that_see_the_same_device_do_not_share_it(machine: Machine, launcher: str) -> None:
    machine.has("cuda", visible=1)
    with pytest.raises(LaunchError, match="local rank 1 has no device: 1 visible, 2 local ranks"):
        choose_device("cuda", "auto", rank(1, 2, launcher))
    assert not machine.current
    assert choose_device("cuda", "auto", rank(0, 1, launcher)).torch_device == torch.device("cuda", 0)


@pytest.mark.parametrize("visible", [0, 2])
def test_too_few_devices_are_refused_with_the_numbers(machine: Machine, visible: int) -> None:
    machine.has("cuda", visible=visible)
    with pytest.raises(LaunchError, match=f"local rank 3 .* {visible} visible, 4 local ranks"):
        choose_device("cuda", "auto", rank(3, 4))
    assert not machine.current


def test_both_variables_of_visible_devices_are_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has("rocm", visible=4)
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "2,3")
    assert choose_device("rocm", "auto", Ranks()).kind == "rocm"
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "0,1")
    with pytest.raises(LaunchError, match="ROCR_VISIBLE_DEVICES and HIP_VISIBLE_DEVICES"):
        choose_device("rocm", "auto", Ranks())


@pytest.mark.parametrize(
    ("kind", "bf16", "asked", "taken"),
    [
        ("cuda", "native", "auto", "bf16"),
        ("rocm", "native", "auto", "bf16"),
        ("cuda", "none", "auto", "fp32"),
        # Emulation (V100, T4) is slower than fp32: it is not what the device has.
        ("cuda", "emulated", "auto", "fp32"),
        ("cuda", "emulated", "fp16", "fp16"),
        ("cuda", "native", "fp32", "fp32"),
    ],
)
def test_precision_on_gpus(machine: Machine, kind: str, bf16: str, asked: str, taken: str) -> None:
    machine.has(kind, bf16=bf16)
    assert choose_device(kind, asked, Ranks()).precision == taken


@pytest.mark.parametrize("bf16", ["emulated", "none"])
def test_bf16_on_a_device_without_it_is_refused(machine: Machine, bf16: str) -> None:
    machine.has("cuda", bf16=bf16)
    with pytest.raises(LaunchError, match="bf16 on a device without it"):
        choose_device("cuda", "bf16", Ranks())


# --- MPS ---


def test_mps_is_a_single_process_in_fp32(machine: Machine) -> None:
    machine.has("mps")
    device = choose_device("auto", "auto", Ranks())
    assert (device.kind, device.precision, device.autocast_dtype) == ("mps", "fp32", None)
    with pytest.raises(LaunchError, match="2 ranks on mps"):
        choose_device("mps", "auto", rank(0, 2))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_other_precisions_on_mps_are_refused(machine: Machine, precision: str) -> None:
    machine.has("mps")
    with pytest.raises(LaunchError, match=f"precision {precision} on mps"):
        choose_device("mps", precision, Ranks())


# --- peak rates ---


@pytest.mark.parametrize(
    ("name", "precision", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.0),
        ("NVIDIA H100 80GB HBM3", "fp16", 989.0),
        ("NVIDIA H100 PCIe", "bf16", 756.0),
        ("NVIDIA H200", "bf16", 989.0),
        ("NVIDIA A100-SXM4-40GB", "bf16", 312.0),
        ("AMD Instinct MI250X", "bf16", 191.5),
        ("AMD Instinct MI300X", "bf16", 1307.0),
        ("NVIDIA H100 80GB HBM3", "fp32", None),
        ("NVIDIA GeForce RTX 4090", "bf16", None),
        ("AMD Instinct MI100", "bf16", None),
    ],
)
def test_peak_rates_are_known_or_not_given(machine: Machine, name: str, precision: str, tflops: float | None) -> None:
    machine.has("cuda", name=name)
    device = choose_device("cuda", precision, Ranks())
    assert device.peak_flops == (None if tflops is None else tflops * 1e12)


@pytest.mark.parametrize("name", ["NVIDIA H100 NVL", "NVIDIA H100 80GB HBM3 MIG 3g.40gb"])
def test_a_relative_of_a_known_device_gets_no_peak_of_another(machine: Machine, name: str) -> None:
    # An H100 NVL peaks at 835 TFLOP/s, a slice of a card at its share: 989 would make the reported MFU wrong.
    machine.has("cuda", name=name)
    assert choose_device("cuda", "bf16", Ranks()).peak_flops != 989e12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu() -> None:
    device = choose_device("auto", "auto", Ranks())
    assert device.torch_device == torch.device("cuda", 0)
    with device.autocast():
        product = torch.ones(64, 64, device=device.torch_device) @ torch.ones(64, 64, device=device.torch_device)
    assert product.dtype == (device.autocast_dtype or torch.float32)
    assert device.memory_gigabytes() > 0
    assert isinstance(device, Device)
