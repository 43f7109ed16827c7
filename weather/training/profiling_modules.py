"""FLOPs, parameters and latency of every module of the model, counted in one forward pass.

The count is that of a bare copy of the model: DeepSpeed's profiler counts linear layers twice in what ZeRO 3 has
wrapped, and the numbers must not depend on the strategy. A FLOP is one of a matrix product, as in
`weather.model.flops`, so that both can be compared; attention is counted.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from weather.config.schema import ModelSection
from weather.model.flops import model_cost
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import Device
from weather.runtime.ranks import Ranks
from weather.strategies.deepspeed_package import load_deepspeed


@dataclass(frozen=True)
class ModuleCost:
    """What one module costs, its children counted in.

    Attributes:
        name: of the module; empty for the model.
        kind: its class.
        depth: 0 for the model.
        flops: of matrix products in one forward pass over the batch.
        seconds: of that pass, the device waited for before and after; None where it was not run.
    """

    name: str
    kind: str
    depth: int
    parameters: int
    flops: int
    seconds: float | None


@dataclass(frozen=True)
class ModuleCosts:
    """The modules of a model, each before its children.

    Attributes:
        batch: samples in the pass.
        counter: who counted.
        analytic_flops: of the same pass, by `weather.model.flops`.
    """

    modules: list[ModuleCost]
    batch: int
    counter: str
    analytic_flops: int

    @property
    def ratio(self) -> float:
        """Counted over analytic FLOPs."""
        return self.modules[0].flops / self.analytic_flops


def count_modules(section: ModelSection, device: Device, ranks: Ranks, *, batch: int) -> ModuleCosts:
    """Count one forward pass over `batch` samples.

    DeepSpeed's profiler runs it on the device. Without the package, or where the device has no room for a second
    model, torch's FLOP counter follows it without data and memory, and there are no latencies.
    """
    # The counters see into this kernel; the others are the same products. Recomputation is no part of the count.
    section = section.model_copy(update={"attention": "sdpa", "activation_checkpointing": "none"})
    analytic = batch * model_cost(section).forward_flops
    if importlib.util.find_spec("deepspeed") is None:
        reason = "deepspeed is not installed, so there are no latencies: pip install -e '.[deepspeed]'"
    else:
        try:
            modules = _by_deepspeed(section, device, ranks, batch)
            return ModuleCosts(modules, batch, "DeepSpeed's FLOPs profiler", analytic)
        except torch.OutOfMemoryError:
            reason = "the device has no room for a second model, so there are no latencies"
        finally:
            if device.torch_device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
    return ModuleCosts(_by_torch(section, batch), batch, f"torch's FLOP counter ({reason})", analytic)


def _by_deepspeed(section: ModelSection, device: Device, ranks: Ranks, batch: int) -> list[ModuleCost]:
    load_deepspeed(device, ranks)
    from deepspeed.profiling.flops_profiler import profiler as deepspeed_profiler

    model, states = _model_and_states(section, device.torch_device, batch)
    profiler = deepspeed_profiler.FlopsProfiler(model)
    with torch.no_grad(), device.autocast():
        model(states)  # warms up
        try:
            profiler.start_profile()
            model(states)
            return _costs(
                model,
                lambda _, module: 2 * int(deepspeed_profiler.get_module_macs(module)),
                lambda module: float(deepspeed_profiler.get_module_duration(module)),
            )
        finally:
            profiler.end_profile()


def _by_torch(section: ModelSection, batch: int) -> list[ModuleCost]:
    with torch.device("meta"):
        model, states = _model_and_states(section, torch.device("meta"), batch)
    with FlopCounterMode(display=False) as counter:
        model(states)
    flops = {name: sum(by_operator.values()) for name, by_operator in counter.get_flop_counts().items()}
    root = type(model).__name__

    def of_module(name: str, module: nn.Module) -> int:
        if f"{root}.{name}".rstrip(".") in flops:
            return flops[f"{root}.{name}".rstrip(".")]
        # A list of modules is never called itself.
        return sum(of_module(f"{name}.{child}".lstrip("."), part) for child, part in module.named_children())

    return _costs(model, of_module, lambda _: None)


def _model_and_states(section: ModelSection, device: torch.device, batch: int) -> tuple[nn.Module, torch.Tensor]:
    model = WeatherTransformer(section, device_type=device.type).to(device).eval()
    size = (batch, model.sequence_length, model.embedded_channels, *model.grid)
    return model, torch.zeros(size, device=device)


def _costs(
    model: nn.Module, flops: Callable[[str, nn.Module], int], seconds: Callable[[nn.Module], float | None]
) -> list[ModuleCost]:
    return [
        ModuleCost(
            name=name,
            kind=type(module).__name__,
            depth=len(name.split(".")) if name else 0,
            parameters=sum(parameter.numel() for parameter in module.parameters()),
            flops=flops(name, module),
            seconds=seconds(module),
        )
        for name, module in model.named_modules()
    ]
