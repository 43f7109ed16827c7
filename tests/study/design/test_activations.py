"""The activations that are counted from a config are those that autograd keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.model.tiny import random_states, tiny_section
from weather.config.schema import ModelSection
from weather.model.transformer import WeatherTransformer, mlp_hidden
from weather.study.design.activations import activations

BATCH = 2
#: Left out of the count: one number a sample of stochastic depth, positions where they are a Fourier series.
TOLERANCE = 0.02


def kept_for_backward(section: ModelSection, dtype: torch.dtype) -> int:
    """Bytes of all that a forward pass and the loss keep, but for weights and their 16-bit copies."""
    torch.manual_seed(0)
    model = WeatherTransformer(section, compute_dtype=dtype)
    states = random_states(section, BATCH)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no other takes its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            forecast = model(states)
        (forecast - torch.zeros_like(forecast)).square().mean()
    found = sum(each.untyped_storage().nbytes() for at, each in kept.items() if at not in weights)
    if dtype == torch.bfloat16:
        dim = section.embed_dim
        matrices = section.num_layers * (4 * dim**2 + 2 * dim * mlp_hidden(section))
        assert section.output_channels != "auto"
        found -= 2 * (matrices + dim * section.output_channels * section.patch_size**2)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "options",
    [
        {"attention": "sdpa"},
        {"attention": "math"},
        {"attention": "sdpa", "qk_norm": True},
        {"attention": "math", "qk_norm": True, "num_layers": 3},
        {"attention": "math", "attention_dropout": 0.1},
        {"attention": "sdpa", "attention_dropout": 0.1},
        {"attention": "sdpa", "dropout": 0.1, "mlp_ratio": 2.0},
        {"attention": "sdpa", "sequence_length": 3, "output_channels": 1},
        {"attention": "sdpa", "extra_channels": 5, "patch_size": 2},
        {"attention": "sdpa", "patch_size": 5, "stochastic_depth": 0.1},
        {"attention": "sdpa", "periodic_longitude": True, "num_heads": 8, "embed_dim": 96},
    ],
    ids=str,
)
def test_what_is_counted_is_what_autograd_keeps(options: dict[str, Any], dtype: torch.dtype) -> None:
    section = tiny_section(img_size=(32, 64), **options)
    size = torch.empty((), dtype=dtype).element_size()
    counted = activations(section, BATCH, number_bytes=size, kernel=section.attention, device_type="cpu").saved
    assert counted == pytest.approx(kept_for_backward(section, dtype), rel=TOLERANCE)


def peak(section: ModelSection) -> int:
    """Most bytes that a forward and a backward pass hold at once beyond those before it, gradients left out."""
    torch.manual_seed(0)
    model = WeatherTransformer(section)
    states = random_states(section, BATCH)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        model(states).square().mean().backward()
    held = most = 0
    kineto = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    for event in sorted((e for e in kineto if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize("kernel", ["sdpa", "math"])
@pytest.mark.parametrize("mode", ["none", "selective", "full"])
def test_the_peak_of_the_passes_is_near_the_estimate(mode: str, kernel: str) -> None:
    section = tiny_section(
        img_size=(64, 128), num_layers=8, embed_dim=64, attention=kernel, activation_checkpointing=mode
    )
    counted = activations(section, BATCH, number_bytes=4, kernel=kernel, device_type="cpu")
    # At the height of the backward pass, what head and loss have kept is free already; that is not taken off.
    estimate = counted.saved + counted.working
    assert 0.85 * estimate <= peak(section) <= 1.02 * estimate
