"""Steps a tiny model with every ZeRO stage and writes down what the strategy says of gradients and skipped steps.

torchrun --nproc-per-node 2 -m tests.distributed.zero_steps OUTPUT.pt
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from weather.config.wrapper import ConfigWrapper
from weather.errors import end_of_rank
from weather.model.transformer import WeatherTransformer
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.device import choose_device
from weather.runtime.ranks import find_ranks
from weather.runtime.seeds import seed_weights
from weather.strategies import find_strategy
from weather.strategies.base import Strategy
from weather.training.optimizer import build_optimizer

MODEL = {"embed_dim": 16, "num_layers": 2, "num_heads": 2, "patch_size": 4, "img_size": [8, 16], "predict": "state"}


def build(name: str, file: str | None, precision: str, on_nonfinite: str) -> Strategy:
    """A strategy with a tiny model, two micro-batches of two samples a step on each of two ranks."""
    training = {"strategy": name, "deepspeed_config": file, "precision": precision, "on_nonfinite": on_nonfinite}
    batches = {"batch_size": 8, "micro_batch_size": 2, "weight_decay": 0.1}
    config = ConfigWrapper(
        {"model": MODEL | {"input_channels": 2, "output_channels": 2}, "training": {**training, **batches}}
    )
    ranks = find_ranks()
    device = choose_device("cpu", precision, ranks)
    start_process_group(ranks, device.backend, 5, None)
    seed_weights(0)
    strategy_class = find_strategy(name)
    if precision != "fp16":
        strategy_class.validate(config, ranks, device)
    strategy = strategy_class(config, device, ranks)
    dtype = device.autocast_dtype or torch.float32
    strategy.setup(
        lambda: WeatherTransformer(config.model, device_type="cpu", compute_dtype=dtype),
        lambda model: build_optimizer(model, config.training),
    )
    return strategy


def accumulate(strategy: Strategy, factor: float = 1.0) -> None:
    """The gradient of one step, over 8 samples in all."""
    states = torch.randn(8, 1, 2, 8, 16, generator=torch.Generator().manual_seed(1))
    mine = states[strategy.data_rank :: strategy.data_size].split(strategy.batches.micro_batch)
    for index, part in enumerate(mine):
        with strategy.microbatch(is_last=index == len(mine) - 1):
            strategy.backward(strategy.module(part).square().mean() * factor)


def copied(pieces: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: piece.clone() for name, piece in pieces.items()}


def observe(strategy: Strategy) -> dict[str, Any]:
    """A step, one whose gradient is not finite, and one more."""
    initial = copied(strategy.gather(strategy.weights()))
    accumulate(strategy)
    gradients = strategy.gather({name: piece.float().clone() for name, piece in strategy.gradients()})  # type: ignore
    first = strategy.step(1e-3, 0.01)
    before = copied(strategy.weights())
    accumulate(strategy, factor=float("nan"))
    second = strategy.step(1e-3, 0.01)
    kept = all(torch.equal(piece, before[name]) for name, piece in strategy.weights().items())
    accumulate(strategy)
    third = strategy.step(1e-3, 0.01)
    computed = strategy.computed_weights()
    follows = all(
        torch.equal(piece.to(computed[name].dtype), computed[name]) for name, piece in strategy.weights().items()
    )
    scalars = copied(strategy.scalars())
    results = (first, second, third)
    weights = copied(strategy.gather(strategy.weights()))
    strategy.close()
    return {
        "initial": initial,
        "gradients": gradients,
        "weights": weights,
        "norms": [result.grad_norm.item() for result in results],
        "applied": [result.applied.item() for result in results],
        "kept": kept,
        "follows": follows,
        "steps": scalars["optimizer.step"].item(),
        "scale": scalars["scaler.scale"].item() if "scaler.scale" in scalars else None,
    }


def allow_float16() -> None:
    """Let DeepSpeed use fp16 on processors without: it is slow there, but the same."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from deepspeed.accelerator import get_accelerator

    type(get_accelerator()).is_fp16_supported = lambda self: True


def main() -> None:
    observed = {}
    allow_float16()
    for file in ("zero0", "zero1", "zero2", "zero3", "zero3_offload"):
        for precision in ("fp32", "bf16", "fp16"):
            for on_nonfinite in ("skip", "stop"):
                strategy = build("deepspeed", f"ds_configs/{file}.json", precision, on_nonfinite)
                observed[f"{file} {precision} {on_nonfinite}"] = observe(strategy)
    torch.save(observed, f"{sys.argv[1]}.{find_ranks().rank}")
    stop_process_group()


if __name__ == "__main__":
    main()
    end_of_rank(0)
