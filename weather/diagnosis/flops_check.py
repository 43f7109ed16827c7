"""The analytic FLOPs beside those that torch's counter and DeepSpeed's profiler see.

What may differ, and by how much: the gradient of the patch embedding's input is not computed, for it is data (the
convention of 3 x forward counts it all the same). A fused attention kernel is either not seen at all, or its backward
pass is counted as five products instead of four, because it computes the scores a second time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from weather.config.schema import ModelSection
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.subject import Subject
from weather.errors import ConfigError
from weather.model.flops import model_cost
from weather.model.lead import LeadEmbedding
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.deepspeed_package import load_deepspeed, require_deepspeed

TOLERANCE = 1e-3  # of the analytic count, for what stays unexplained; both counts are exact where all is well


@dataclass(frozen=True)
class Count:
    """One count of one sample.

    Attributes:
        analytic, counted: FLOPs.
        expected: difference (counted - analytic) that has a reason.
        reason: of it.
    """

    what: str
    analytic: int
    counted: int
    expected: int
    reason: str

    @property
    def unexplained(self) -> float:
        """Share of the analytic count."""
        return (self.counted - self.analytic - self.expected) / self.analytic


def check_flops(subject: Subject, device: Device, kernel: str, ranks: Ranks) -> Section:
    """Count in one process.

    Args:
        device: with the precision of a run of the config.
        kernel: attention of such a run.
    """
    section = Section("FLOPs", {"tolerance": TOLERANCE})
    section.columns = ("count", "analytic", "counted", "ratio", "explained", "unexplained", "reason")
    counts = [
        *count_without_memory(subject.full),
        *count_on_device(subject.config.model, device, kernel),
        *count_by_deepspeed(subject.config.model, device, ranks, section),
    ]
    for count in counts:
        ratio, explained = count.counted / count.analytic, count.expected / count.analytic
        row = (count.what, count.analytic, count.counted, ratio, explained, count.unexplained, count.reason)
        section.rows.append(row)
        if abs(count.unexplained) > TOLERANCE:
            section.find(
                Severity.ERROR,
                "model.flops",
                f"{count.what}: {count.counted:.6g} FLOPs counted, {count.analytic:.6g} analytic, and "
                f"{count.unexplained:+.2%} of them without a reason: budgets and MFU would be wrong",
                "weather/model/flops.py counts what weather/model/transformer.py computes: one of them was changed",
            )
    return section


def count_without_memory(section: ModelSection) -> list[Count]:
    """Torch's counter on a model of the config's full size whose tensors have shapes only."""
    section = section.model_copy(update={"attention": "math", "activation_checkpointing": "none"})
    return [
        _torch_count(f"torch, {name}, whole model", section, torch.device("meta"), None, backward=name == "training")
        for name in ("forward", "training")
    ]


def count_on_device(section: ModelSection, device: Device, kernel: str) -> list[Count]:
    """Torch's counter where the model runs, with the run's own attention."""
    section = section.model_copy(update={"attention": kernel, "activation_checkpointing": "none"})
    return [
        _torch_count(
            f"torch, {name}, examined, {kernel} on {device.kind}",
            section,
            device.torch_device,
            device,
            backward=name == "training",
        )
        for name in ("forward", "training")
    ]


def _torch_count(
    what: str, section: ModelSection, place: torch.device, device: Device | None, *, backward: bool
) -> Count:
    dtype = device.autocast_dtype if device is not None else None
    with place:
        model = WeatherTransformer(section, device_type=place.type, compute_dtype=dtype or torch.float32)
        states = torch.zeros(_shape(section))
    with FlopCounterMode(display=False) as counter:
        if device is None:
            forecast = model(states)
        else:
            with device.autocast():
                forecast = model(states)
        if backward:
            forecast.square().mean().backward()
    by_operator = {str(operator): count for operator, count in counter.get_flop_counts()["Global"].items()}
    in_the_open = any("bmm" in name for name in by_operator)  # batched products are those of attention only
    fused = {name: count for name, count in by_operator.items() if "attention" in name}
    cost = model_cost(section)
    expected, reasons = 0, []
    if backward:
        assert section.input_channels != "auto"
        expected -= 2 * cost.tokens * section.embedded_channels * section.patch_size**2 * section.embed_dim
        if section.lead_conditioning:
            expected -= 2 * 2 * LeadEmbedding.FREQUENCIES * section.embed_dim
        reasons.append("no gradient of the input fields")
    if not in_the_open:
        extra, reason = _fused_attention(section, fused, backward=backward)
        expected += extra
        reasons += [reason] if reason else []
    return Count(
        what,
        cost.train_flops if backward else cost.forward_flops,
        counter.get_total_flops(),
        expected,
        ", ".join(reasons) or "exact",
    )


def _fused_attention(section: ModelSection, seen: dict[str, int], *, backward: bool) -> tuple[int, str]:
    """Known difference of a fused kernel's count from the analytic one, and its reason."""
    products = 2 * model_cost(section).tokens ** 2 * section.embed_dim * section.num_layers  # one of the two of a pass
    forward = sum(count for name, count in seen.items() if "backward" not in name)
    reverse = sum(count for name, count in seen.items() if "backward" in name)
    extra, reasons = 0, []
    if forward == 0:
        extra -= 2 * products
    if backward and reverse == 0:
        extra -= 4 * products
    if extra:
        reasons.append("the counter does not see the fused attention kernel")
    if reverse == 5 * products:
        extra += products
        reasons.append("the fused kernel computes the scores a second time")
    return extra, ", ".join(reasons)


def count_by_deepspeed(section: ModelSection, device: Device, ranks: Ranks, report: Section) -> list[Count]:
    """DeepSpeed's profiler: twice the multiply-adds of a forward pass of the bare model.

    Its count of FLOPs has norms and activations as well. Within a DeepSpeed engine it would count twice at ZeRO 3.
    """
    try:
        require_deepspeed()
    except ConfigError as error:
        report.find(Severity.NOTE, "model.flops", f"not counted by DeepSpeed: {error}")
        return []
    load_deepspeed(device, ranks)
    from deepspeed.profiling.flops_profiler import FlopsProfiler

    section = section.model_copy(update={"attention": "sdpa", "activation_checkpointing": "none"})
    model = WeatherTransformer(section, device_type=device.torch_device.type).to(device.torch_device)
    profiler = FlopsProfiler(model)
    profiler.start_profile()
    try:
        with torch.no_grad():
            model(torch.zeros(_shape(section), device=device.torch_device))
        multiply_adds = profiler.get_total_macs()
    finally:
        profiler.end_profile()
    cost = model_cost(section)
    return [Count("DeepSpeed, forward, examined", cost.forward_flops, 2 * multiply_adds, 0, "exact: 2 x multiply-adds")]


def _shape(section: ModelSection) -> tuple[int, ...]:
    assert section.img_size != "auto" and section.input_channels != "auto"
    return (1, section.sequence_length, section.embedded_channels, *section.img_size)
