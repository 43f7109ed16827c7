"""Layer normalisation in float32, whatever comes in."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from weather.model.layers import LayerNorm


def norms(width: int = 24) -> tuple[LayerNorm, nn.LayerNorm]:
    """Ours and torch's with the same weights, none of them trivial."""
    generator = torch.Generator().manual_seed(2)
    ours, theirs = LayerNorm(width), nn.LayerNorm(width)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(generator=generator)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def states() -> torch.Tensor:
    return 3 + 2 * torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1))


def test_in_float32_it_is_that_of_torch() -> None:
    ours, theirs = norms()
    inputs = [states().requires_grad_() for _ in range(2)]
    outputs = [norm(x) for norm, x in zip((ours, theirs), inputs, strict=True)]
    assert torch.equal(outputs[0], outputs[1])
    for output in outputs:
        output.square().sum().backward()
    assert torch.equal(inputs[0].grad, inputs[1].grad)
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter.grad, theirs.get_parameter(name).grad), name


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inputs", [torch.float32, torch.bfloat16, torch.float16])
def test_16_bits_are_normalised_in_float32(weights: torch.dtype, inputs: torch.dtype) -> None:
    ours, theirs = norms()
    ours.to(weights)
    theirs.load_state_dict({name: tensor.float() for name, tensor in ours.state_dict().items()})
    x = states().to(inputs)
    found = ours(x)
    assert found.dtype == torch.float32
    assert torch.equal(found, theirs(x.float())), "what is rounded is what comes in, and nothing else"


def test_gradients_have_the_types_of_what_came_in() -> None:
    ours, _ = norms()
    ours.to(torch.bfloat16)
    x = states().bfloat16().requires_grad_()
    ours(x).square().sum().backward()
    assert x.grad is not None and x.grad.dtype == torch.bfloat16
    assert {parameter.grad.dtype for parameter in ours.parameters()} == {torch.bfloat16}


def test_autocast_does_not_change_it() -> None:
    ours, _ = norms()
    expected = ours(states())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(states())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
