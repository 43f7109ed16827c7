"""Examine a config's model on this device and these ranks, before a run is paid for."""

from __future__ import annotations

import math

from weather.config.wrapper import ConfigWrapper
from weather.diagnosis.attempts import Attempts
from weather.diagnosis.attention_check import check_kernels
from weather.diagnosis.combinations import (
    compute_dtype,
    head_dim,
    possible_combinations,
    usable_devices,
    wanted_precision,
)
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.flops_check import check_flops
from weather.diagnosis.gradient_flow import gradient_flow
from weather.diagnosis.optimizer_check import optimizer_section
from weather.diagnosis.precisions import LIMITS, Tried, try_combinations
from weather.diagnosis.reference import Reference, compute_reference
from weather.diagnosis.subject import Subject, choose_subject
from weather.model.attention import choose_attention
from weather.runtime.device import Device, choose_device
from weather.runtime.ranks import Ranks


def examine_model(config: ConfigWrapper, ranks: Ranks, requested_device: str) -> list[Section]:
    """Step the model in every precision, attention kernel and strategy that this start allows, and look at it closely.

    All ranks call it, in a process group or alone, and all get the same sections, but for seconds and memory, which
    are each rank's own, and FLOPs, which the first rank alone counts.

    Args:
        requested_device: auto | cuda | rocm | mps | cpu.

    Raises:
        LaunchError: there is no such device for this rank.
    """
    wanted = wanted_precision(config, ranks, requested_device)
    subject, about = choose_subject(config, ranks, choose_device(requested_device, "auto", ranks))
    devices = usable_devices(wanted, ranks, requested_device, about)
    combinations = possible_combinations(subject, config, wanted, devices, ranks, about)
    usual = devices.get(wanted, devices["fp32"])
    kernel = choose_attention(
        config.model.attention,
        device_type=usual.torch_device.type,
        compute_dtype=compute_dtype(usual),
        head_dim=head_dim(subject),
    )[0]
    steps = Section("precisions and strategies", {name: limit.why for name, limit in LIMITS.items()})
    if usual.kind == "cpu":
        steps.facts["memory"] = "peak of this process so far; it keeps what it has had"
    with Attempts(config.training.collective_timeout_minutes) as attempts:
        # One rank counts and the others wait. Later ZeRO 3 may have replaced torch's linear layer for this process, and
        # DeepSpeed's profiler would count it twice.
        counted = attempts.attempt(
            lambda: check_flops(subject, usual, kernel, ranks) if ranks.first else Section("FLOPs")
        )
        kernels = check_kernels(subject, devices, (wanted, kernel), attempts)
        reference = _reference(subject, devices["fp32"], attempts, about)
        tried = try_combinations(combinations, subject, reference, ranks, attempts, steps)
        sections = [about, kernels, steps, optimizer_section(tried, subject), _flow(tried, reference, subject)]
    if counted.result is None:
        about.find(Severity.WARNING, "model.flops", f"FLOPs were not counted: {counted.text}")
        return sections
    return [*sections, counted.result]


def _reference(subject: Subject, device: Device, attempts: Attempts, about: Section) -> Reference | None:
    """None, and a finding, where there cannot be one."""
    outcome = attempts.attempt(lambda: compute_reference(subject, device.torch_device))
    if outcome.result is None:
        about.find(
            Severity.WARNING,
            "model.reference",
            f"there is no fp32 reference with plain attention to compare with: {outcome.text}",
            "examine it on a smaller grid: --set model.img_size=[ROWS,COLUMNS]",
        )
    elif not math.isfinite(outcome.result.loss):
        about.find(Severity.ERROR, "model.finite", "the loss of the first step is not finite in fp32")
        return None
    return outcome.result


def _flow(tried: list[Tried], reference: Reference | None, subject: Subject) -> Section:
    """As in a run of the config; where that has failed, as in the reference."""
    if reference is None:
        return Section("gradient flow", {"from": "nothing: there is no reference"})
    matrices = frozenset(name for name, parameter in subject.shapes().items() if len(parameter) > 1)
    for each in tried:
        comparison = each.measurement.first.comparison if each.measurement is not None else None
        if each.combination.wanted and comparison is not None:
            return gradient_flow(comparison.norms, reference.weights, matrices, str(each.combination))
    return gradient_flow(reference.norms, reference.weights, matrices, "the fp32 reference")
