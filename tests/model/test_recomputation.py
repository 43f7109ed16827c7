"""Recomputation changes what is kept in memory, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.model.tiny import lively_model, random_states, tiny_section


class CallCounter(TorchDispatchMode):
    """Counts the operators that are run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls[operator.overloadpacket.__name__] += 1
        return operator(*args, **(kwargs or {}))


def gradients(**options: Any) -> dict[str, torch.Tensor]:
    model = lively_model(**options)
    torch.manual_seed(3)
    model(random_states(tiny_section())).square().mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("mode", ["full", "selective"])
@pytest.mark.parametrize("kernel", ["sdpa", "math"])
@pytest.mark.parametrize(
    "rates", [{}, {"dropout": 0.2}, {"attention_dropout": 0.2}, {"stochastic_depth": 0.5}], ids=str
)
def test_gradients_are_the_same_to_the_bit(mode: str, kernel: str, rates: dict[str, float]) -> None:
    # With dropout too: the second pass draws the masks of the first.
    kept = gradients(attention=kernel, **rates)
    recomputed = gradients(attention=kernel, activation_checkpointing=mode, **rates)
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def training_calls(mode: str) -> Counter[str]:
    """Operators that run in a forward and a backward pass of two blocks."""
    model = lively_model(attention="sdpa", activation_checkpointing=mode)
    with CallCounter() as counter:
        model(random_states(tiny_section())).square().mean().backward()
    return counter.calls


def attention_calls(calls: Counter[str]) -> int:
    return sum(
        count
        for operator, count in calls.items()
        if operator.startswith("_scaled_dot_product") and "backward" not in operator
    )


def test_what_is_run_a_second_time() -> None:
    none, full, selective = (training_calls(mode) for mode in ("none", "full", "selective"))
    assert attention_calls(none) == 2
    assert attention_calls(full) == 4
    assert attention_calls(selective) == 2, "selective keeps attention"
    assert none["gelu"] == 2
    assert full["gelu"] == selective["gelu"] == 4, "all else is recomputed"


def saved_bytes(mode: str) -> int:
    """Bytes of activations that wait for the backward pass."""
    section = tiny_section(img_size=(32, 64), num_layers=4)
    model = lively_model(img_size=(32, 64), num_layers=4, attention="sdpa", activation_checkpointing=mode)
    parameters = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forecast = model(random_states(section))
    assert forecast.requires_grad
    return sum(kept.values())


def test_recomputation_keeps_less() -> None:
    assert saved_bytes("full") < saved_bytes("none") / 3


@pytest.mark.parametrize("mode", ["full", "selective"])
def test_evaluation_keeps_nothing_to_recompute(mode: str) -> None:
    model = lively_model(attention="sdpa", activation_checkpointing=mode).eval()
    states = random_states(tiny_section())
    with torch.no_grad():
        forecast = model(states)
    assert torch.equal(forecast, lively_model(attention="sdpa").eval()(states))
