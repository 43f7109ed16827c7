"""The training step's rate beside this machine's own best matrix product."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from weather.benchmarks.timing import share, take_turns
from weather.config.wrapper import ConfigWrapper
from weather.data.year_file import default_latitude
from weather.errors import ConfigError
from weather.model.attention import attend
from weather.model.flops import model_cost
from weather.model.transformer import WeatherTransformer
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.strategies.single import SingleProcess
from weather.training.loss import weighted_mean_squared_error
from weather.training.optimizer import build_optimizer
from weather.verification.metrics import area_weights

PRODUCT_SIZES = (1024, 2048, 3072)


def measure_step(config: ConfigWrapper, *, device: str, batch: int, rounds: int) -> dict[str, Any]:
    """Rates of a training step of `batch` samples, of its forward pass, of attention alone, and of matrix products.

    Returns:
        TFLOP/s of each, and the share of the best matrix product that each reaches.
    """
    model_section = config.model
    if "auto" in (model_section.img_size, model_section.input_channels, model_section.output_channels):
        raise ConfigError(
            "the benchmark has no archive to take model.img_size, input_channels and output_channels from",
            fix="give them, such as --set model.img_size=[64,128]",
        )
    config = config.replace({"training.batch_size": batch, "training.strategy": "single"})
    ranks = Ranks()
    chosen = choose_device(device, config.training.precision, ranks)
    target = chosen.torch_device
    dtype = chosen.autocast_dtype or torch.float32
    torch.manual_seed(0)
    strategy = SingleProcess(config, chosen, ranks)
    strategy.setup(
        lambda: WeatherTransformer(model_section, device_type=target.type, compute_dtype=dtype),
        lambda model: build_optimizer(model, config.training),
    )
    assert isinstance(strategy.model, WeatherTransformer)
    rows, columns = strategy.model.grid
    states = torch.randn(
        batch, model_section.sequence_length, strategy.model.input_channels, rows, columns, device=target
    )
    truth = torch.randn(batch, strategy.model.output_channels, rows, columns, device=target)
    weights = torch.from_numpy(area_weights(default_latitude(rows))).float()[None, :, None].to(target)
    cost = model_cost(model_section)

    def step() -> float:
        with strategy.microbatch(is_last=True):
            strategy.backward(weighted_mean_squared_error(strategy.module(states), truth, weights))
        strategy.step(1e-4, 1.0)
        return cost.train_flops * batch

    def forward() -> float:
        with torch.no_grad(), chosen.autocast():
            strategy.module(states)
        return cost.forward_flops * batch

    heads, head_dim = model_section.num_heads, model_section.embed_dim // model_section.num_heads
    query = torch.randn(batch, heads, cost.tokens, head_dim, device=target, dtype=dtype, requires_grad=True)
    kernel = strategy.model.attention_kernel

    def attention() -> float:
        attend(query, query, query, kernel=kernel, dropout=0.0).sum().backward()
        return 3 * 4 * batch * cost.tokens**2 * model_section.embed_dim

    contestants = {"step": step, "forward": forward, "attention": attention}
    for size in PRODUCT_SIZES:
        contestants[f"product {size}"] = _product(size, target, dtype)
    rates = take_turns(contestants, rounds, target)
    rates["best product"] = [max(r) for r in zip(*(rates[f"product {n}"] for n in PRODUCT_SIZES), strict=True)]
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


def _product(size: int, device: torch.device, dtype: torch.dtype) -> Any:
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    repeats = max(1, (PRODUCT_SIZES[-1] // size) ** 3)

    def multiply() -> float:
        for _ in range(repeats):
            torch.mm(left, right, out=out)
        return 2.0 * size**3 * repeats

    return multiply
