"""The training step's rate beside this machine's own best matrix product."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from weather.benchmarks.timing import share, take_turns
from weather.benchmarks.workload import Workload
from weather.config.wrapper import ConfigWrapper
from weather.model.attention import attend
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks

PRODUCT_SIZES = (1024, 2048, 3072)
GPU_PRODUCT_SIZES = (2048, 4096, 8192)  # smaller ones do not fill it
GPU_PRODUCTS = 8  # of the largest in a turn: one is over before the host has looked at its clock


def measure_step(config: ConfigWrapper, *, device: str, batch: int, rounds: int) -> dict[str, Any]:
    """Rates of a training step of `batch` samples, of its forward pass, of attention alone, and of matrix products.

    Returns:
        TFLOP/s of each, and the share of the best matrix product that each reaches.
    """
    chosen = choose_device(device, config.training.precision, Ranks())
    workload = Workload(config, chosen, batch)
    our, cost, target = workload.our_step("single", Ranks()), workload.cost, chosen.torch_device
    assert isinstance(our.strategy.model, WeatherTransformer)

    def step() -> float:
        our.step()
        return cost.train_flops * batch

    def forward() -> float:
        with torch.no_grad(), chosen.autocast():
            our.strategy.module(workload.states)
        return cost.forward_flops * batch

    model_section, dtype = config.model, chosen.autocast_dtype or torch.float32
    heads, head_dim = model_section.num_heads, model_section.embed_dim // model_section.num_heads
    query = torch.randn(batch, heads, cost.tokens, head_dim, device=target, dtype=dtype, requires_grad=True)
    kernel = our.strategy.model.attention_kernel

    def attention() -> float:
        attend(query, query, query, kernel=kernel, dropout=0.0).sum().backward()
        return 3 * 4 * batch * cost.tokens**2 * model_section.embed_dim

    contestants = {"step": step, "forward": forward, "attention": attention}
    sizes, products = (GPU_PRODUCT_SIZES, GPU_PRODUCTS) if target.type == "cuda" else (PRODUCT_SIZES, 1)
    for size in sizes:
        contestants[f"product {size}"] = _product(size, products * (sizes[-1] // size) ** 3, target, dtype)
    rates = take_turns(contestants, rounds, target)
    rates["best product"] = [max(r) for r in zip(*(rates[f"product {n}"] for n in sizes), strict=True)]
    names = ("step", "forward", "attention", "best product")
    return {
        "config": str(config.experiment.name),
        "device": chosen.name,
        "precision": chosen.precision,
        "threads": torch.get_num_threads(),
        "batch": batch,
        "tokens": cost.tokens,
        "parameters": cost.parameters,
        "tflops": {name: statistics.median(rates[name]) / 1e12 for name in names},
        "samples_per_second": statistics.median(rates["step"]) / cost.train_flops,
        "share_of_best_product": {name: share(rates, name, "best product") for name in names[:3]},
    }


def _product(size: int, repeats: int, device: torch.device, dtype: torch.dtype) -> Any:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)

    def multiply() -> float:
        for _ in range(repeats):
            torch.mm(left, right, out=out)
        return 2.0 * size**3 * repeats

    return multiply
