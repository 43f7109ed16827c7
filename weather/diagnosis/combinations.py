"""Which strategies, precisions and attention kernels this start allows, and why it does not allow the others."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.subject import Subject
from weather.errors import LaunchError, WeatherError
from weather.model.attention import choose_attention, flash_attn_obstacle
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks
from weather.strategies import STRATEGIES, find_strategy

PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Combination:
    """What a trial runs with.

    Attributes:
        device: of this rank, with the precision.
        attention: kernel.
        wanted: whether a run of the config has this precision and kernel, and its strategy if this start allows that.
    """

    strategy: str
    device: Device
    attention: str
    wanted: bool

    def __str__(self) -> str:
        return f"{self.strategy}, {self.device.precision}, {self.attention}"

    @property
    def severity(self) -> Severity:
        """Of what is wrong with it: a run would fail, or another run would."""
        return Severity.ERROR if self.wanted else Severity.WARNING


def wanted_precision(config: ConfigWrapper, ranks: Ranks, requested_device: str) -> str:
    """That of a run of the config on this device.

    Raises:
        LaunchError: there is no such device.
    """
    default = choose_device(requested_device, "auto", ranks).precision
    return default if config.training.precision == "auto" else config.training.precision


def usable_devices(wanted: str, ranks: Ranks, requested_device: str, section: Section) -> dict[str, Device]:
    """This rank's device with each precision that it serves."""
    devices = {}
    for precision in PRECISIONS:
        try:
            devices[precision] = choose_device(requested_device, precision, ranks)
        except LaunchError as error:
            severity = Severity.ERROR if precision == wanted else Severity.NOTE
            section.find(severity, "model.precision", str(error))
    return devices


def usable_kernels(subject: Subject, device: Device) -> tuple[list[str], str]:
    """Attention kernels that serve this precision, and why flash-attn is not among them ("" if it is)."""
    obstacle = flash_attn_obstacle(device.torch_device.type, compute_dtype(device), head_dim(subject))
    return ["math", "sdpa"] + ([] if obstacle else ["flash_attn"]), obstacle


def possible_combinations(
    subject: Subject, config: ConfigWrapper, wanted: str, devices: dict[str, Device], ranks: Ranks, section: Section
) -> list[Combination]:
    """All that can be tried; what cannot is found, with the reason.

    Args:
        config: the user's own.
        wanted: precision of a run of the config.
    """
    strategy, section_of_model = config.training.strategy, config.model
    allowed = _allows(config, wanted, devices, ranks, section)
    refused: dict[str, list[str]] = {}
    found = []
    strategies = {name: each for name, each in STRATEGIES.items() if ranks.launcher != "single" or not each.parallel}
    if len(strategies) < len(STRATEGIES):
        section.find(
            Severity.NOTE,
            "model.combinations",
            f"not examined: {', '.join(sorted(set(STRATEGIES) - set(strategies)))}: they run in a world of ranks",
            "torchrun --nproc-per-node 2 -m weather.doctor model",
        )
    for precision, device in devices.items():
        kernels, obstacle = usable_kernels(subject, device)
        if obstacle:
            refused.setdefault(obstacle, []).append(f"flash_attn, {precision}")
        asked, fallback = choose_attention(
            section_of_model.attention,
            device_type=device.torch_device.type,
            compute_dtype=compute_dtype(device),
            head_dim=head_dim(subject),
        )
        if fallback and precision == wanted:
            section.find(Severity.WARNING, "model.attention", fallback, "set model.attention=auto")
        for name, strategy_class in strategies.items():
            try:
                strategy_class.validate(subject.settings(name, precision, "math"), ranks, device)
            except WeatherError as error:
                refused.setdefault(str(error), []).append(f"{name}, {precision}")
                continue
            for kernel in kernels:
                own = precision == wanted and kernel == asked and (not allowed or name == strategy)
                found.append(Combination(name, device, kernel, own))
    for reason, what in refused.items():
        section.find(Severity.NOTE, "model.combinations", f"not examined: {'; '.join(what)}: {reason}")
    # DeepSpeed is the last of them: at ZeRO 3 it replaces torch's linear layer for the rest of the process.
    return sorted(found, key=lambda each: list(STRATEGIES).index(each.strategy))


def _allows(config: ConfigWrapper, wanted: str, devices: dict[str, Device], ranks: Ranks, section: Section) -> bool:
    """Whether this start is one that the config's own strategy runs in; what else it refuses is found."""
    strategy_class = find_strategy(config.training.strategy)
    # Another number of ranks than a run would have is no fault of the config.
    if (ranks.launcher == "single") if strategy_class.parallel else (ranks.world_size > 1):
        return False
    try:
        if wanted in devices:
            strategy_class.validate(config, ranks, devices[wanted])
    except WeatherError as error:
        section.find(Severity.ERROR, "model.strategy", str(error))
    return True


def compute_dtype(device: Device) -> torch.dtype:
    """Type of attention's queries."""
    return device.autocast_dtype or torch.float32


def head_dim(subject: Subject) -> int:
    """Width of an attention head."""
    return subject.full.embed_dim // subject.full.num_heads
