"""Each attention kernel alone beside the definition in fp32: output and gradients, at the config's number of tokens."""

from __future__ import annotations

import math

import torch

from weather.diagnosis.attempts import MEMORY, Attempts, severity_of
from weather.diagnosis.combinations import head_dim, usable_kernels
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.precisions import LIMITS
from weather.diagnosis.subject import Subject
from weather.model.attention import attend
from weather.model.flops import model_cost
from weather.runtime.device import Device

MOST_TOKENS = 4096  # the definition holds heads x tokens^2 weights: 0.5 GB for eight heads


def check_kernels(subject: Subject, devices: dict[str, Device], wanted: tuple[str, str], attempts: Attempts) -> Section:
    """Relative difference of output and of gradients of queries, keys and values; all ranks call it.

    Args:
        wanted: precision and kernel of a run of the config.
    """
    section = Section("attention kernels")
    section.columns = ("precision", "attention", "output", "gradient", "allowed", "verdict")
    tokens = min(model_cost(subject.config.model).tokens, MOST_TOKENS)
    shape = (1, subject.full.num_heads, tokens, head_dim(subject))
    section.facts["shape"] = f"{shape[1]} heads, {tokens} tokens, head width {shape[3]}"
    # With standard normal queries the softmax is far from even: a wrong scale or mask shows.
    inputs = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    for precision, device in devices.items():
        limit = LIMITS[precision].kernel
        for kernel in usable_kernels(subject, device)[0]:
            severity = Severity.ERROR if (precision, kernel) == wanted else Severity.WARNING
            outcome = attempts.attempt(
                lambda kernel=kernel, device=device: differences(inputs, kernel, device)  # type: ignore[misc]
            )
            if outcome.result is None:
                section.rows.append((precision, kernel, None, None, limit, outcome.kind))
                what = f"{kernel} in {precision}: {outcome.text}"
                check = "model.memory" if outcome.kind == MEMORY else "model.attention"
                section.find(severity_of(outcome, severity), check, what)
                continue
            output, gradient = outcome.result
            good = max(output, gradient) <= limit  # False where one is not a number
            section.rows.append((precision, kernel, output, gradient, limit, "good" if good else "differs"))
            if not good:
                section.find(
                    severity,
                    "model.attention",
                    f"{kernel} in {precision} is off by {output:.1e} and its gradient by {gradient:.1e} of plain "
                    f"attention in fp32; allowed is {limit:.0e} ({LIMITS[precision].why})",
                    "set model.attention to a kernel that is good in the table",
                )
    return section


def differences(inputs: list[torch.Tensor], kernel: str, device: Device) -> tuple[float, float]:
    """Of output, and of the worst of the three gradients: norm of the difference over the norm of the definition."""
    dtype = device.autocast_dtype or torch.float32
    found, expected = (
        _passes(inputs, name, device.torch_device, kind) for name, kind in ((kernel, dtype), ("math", torch.float32))
    )
    off = [((a - b).norm() / b.norm()).item() for a, b in zip(found, expected, strict=True)]
    return off[0], max(off[1:], key=lambda value: math.inf if math.isnan(value) else value)


def _passes(inputs: list[torch.Tensor], kernel: str, target: torch.device, dtype: torch.dtype) -> list[torch.Tensor]:
    query, key, value = (each.to(target, dtype).requires_grad_() for each in inputs[:3])
    output = attend(query, key, value, kernel=kernel, dropout=0.0)
    gradients = torch.autograd.grad(output, [query, key, value], inputs[3].to(target, dtype))
    return [each.detach().float().cpu() for each in (output, *gradients)]
