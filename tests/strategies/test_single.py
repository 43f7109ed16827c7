"""The contract of a strategy in one process: accumulation, clipping, precision, state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weather.config.wrapper import ConfigWrapper
from weather.runtime.device import choose_device
from weather.runtime.ranks import Ranks
from weather.strategies.base import StepResult
from weather.strategies.batches import BatchPlan
from weather.strategies.single import SingleProcess
from weather.training.optimizer import build_optimizer


def strategy(precision: str = "fp32", **training: Any) -> SingleProcess:
    """A set-up strategy around a linear model of 3 inputs and 2 outputs."""
    config = ConfigWrapper({"training": {"batch_size": 4, "weight_decay": 0.0} | training})
    found = SingleProcess(config, choose_device("cpu", precision, Ranks()), Ranks())
    torch.manual_seed(0)
    found.setup(lambda: nn.Linear(3, 2), lambda model: build_optimizer(model, config.training))
    return found


def samples() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 3, generator=generator), torch.randn(4, 2, generator=generator)


def train_step(strategy: SingleProcess, rate: float = 1e-2, max_norm: float = 0.0) -> StepResult:
    inputs, targets = samples()
    size = len(inputs) // strategy.batches.accumulation
    for micro in range(strategy.batches.accumulation):
        part = slice(micro * size, (micro + 1) * size)
        with strategy.microbatch(is_last=micro == strategy.batches.accumulation - 1):
            strategy.backward((strategy.module(inputs[part]) - targets[part]).square().mean())
    return strategy.step(rate, max_norm)


def weights(strategy: SingleProcess) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in strategy.model.parameters()])


def test_accumulation_is_a_matter_of_memory() -> None:
    whole, parts = strategy(), strategy(micro_batch_size=1)
    assert (whole.batches, parts.batches) == (BatchPlan(4, 4, 1), BatchPlan(4, 1, 4))
    norms = [train_step(each).grad_norm.item() for each in (whole, parts)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)  # float32 sums in another order
    torch.testing.assert_close(weights(whole), weights(parts), atol=1e-6, rtol=1e-5)


def test_norm_is_that_before_clipping() -> None:
    model = strategy()
    inputs, targets = samples()
    loss = (model.module(inputs) - targets).square().mean()
    gradients = torch.autograd.grad(loss, list(model.model.parameters()))
    expected = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
    result = train_step(model, max_norm=1e-3)
    assert result.grad_norm.item() == pytest.approx(expected, rel=1e-5)
    assert result.applied.item() == 1.0
    assert not result.grad_norm.requires_grad


@pytest.mark.parametrize(("max_norm", "scale"), [(0.0, 1.0), (1e6, 1.0), (0.25, None)])
def test_gradients_are_clipped_to_the_largest_norm(max_norm: float, scale: float | None) -> None:
    # Adam's first moment after one step is (1 - beta1) times the gradient that it was given.
    free, clipped = strategy(), strategy()
    norm = train_step(free).grad_norm.item()
    train_step(clipped, max_norm=max_norm)
    before, after = (each.state_dict()["optimizer.exp_avg.weight"] for each in (free, clipped))
    assert norm > 0.25
    torch.testing.assert_close(after, before * (max_norm / norm if scale is None else scale), atol=1e-7, rtol=1e-4)


def test_each_step_takes_the_learning_rate_it_is_given() -> None:
    model = strategy(learning_rate=123.0)
    before = weights(model)
    train_step(model, rate=0.0)
    assert torch.equal(weights(model), before)
    train_step(model, rate=1e-2)
    assert (weights(model) - before).abs().max() < 0.02
    assert all(parameter.grad is None for parameter in model.model.parameters()), "the gradient is cleared"


def test_state_has_canonical_names_from_the_start() -> None:
    model = strategy()
    state = model.state_dict()
    kinds = ("model", "optimizer.exp_avg", "optimizer.exp_avg_sq")
    assert set(state) == {f"{kind}.{name}" for name in ("weight", "bias") for kind in kinds} | {"optimizer.step"}
    assert state["optimizer.exp_avg.weight"].abs().max() == 0
    train_step(model)
    assert state["optimizer.exp_avg.weight"].abs().max() > 0, "the tensors are the live ones"
    assert model.state_dict()["optimizer.step"].item() == 1.0


def test_a_loaded_state_goes_on_to_the_bit() -> None:
    whole, first, second = strategy(), strategy(), strategy()
    for _ in range(4):
        train_step(whole)
    for _ in range(2):
        train_step(first)
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for _ in range(2):
        train_step(second)
    assert torch.equal(weights(second), weights(whole))


def test_half_precision_keeps_weights_and_moments_in_float32() -> None:
    model = strategy("bf16")
    train_step(model)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    with model.microbatch(is_last=True):
        assert model.module(samples()[0]).dtype == torch.bfloat16


def test_fp16_skips_a_step_that_overflows_and_halves_the_scale() -> None:
    model = strategy("fp16")
    before, scale = weights(model), model.state_dict()["scaler.scale"].item()
    with model.microbatch(is_last=True):
        # A loss of 6e4 times a scale of 65536 is more than any half precision gradient holds.
        model.backward(model.module(samples()[0] * 1e3).square().mean() * 1e30)
    result = model.step(1e-2, 1.0)
    assert result.applied.item() == 0.0
    assert torch.equal(weights(model), before)
    assert model.state_dict()["scaler.scale"].item() == scale / 2
    assert train_step(model).applied.item() == 1.0
    assert not torch.equal(weights(model), before)


def test_the_state_of_loss_scaling_is_loaded() -> None:
    model, other = strategy("fp16"), strategy("fp16")
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["scaler.scale"].fill_(512.0)
    other.load_state_dict(state)
    assert other.scaler.get_scale() == 512.0
    norm = train_step(other).grad_norm.item()
    # float16 rounds products at 0.1 %.
    assert norm == pytest.approx(train_step(strategy()).grad_norm.item(), rel=0.01), "scaling does not show"


# --- steps that are left out ---


def test_a_step_that_is_not_finite_is_left_out_on_request() -> None:
    model = strategy(on_nonfinite="skip")
    train_step(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with model.microbatch(is_last=True):
        model.backward(model.module(samples()[0]).sum() * torch.inf)
    result = model.step(1e-2, 1.0)
    assert result.applied.item() == 0.0
    assert not torch.isfinite(result.grad_norm)
    after = model.state_dict()
    assert after["optimizer.step"].item() == 1.0, "the bias correction does not count it"
    changed = [name for name in before if not torch.equal(after[name], before[name])]
    assert changed == []
    assert all(parameter.grad is None for parameter in model.model.parameters()), "the gradient is gone"


def test_after_a_step_that_was_left_out_the_run_is_as_without_it() -> None:
    skipping, straight = strategy(on_nonfinite="skip"), strategy()
    for model in (skipping, straight):
        train_step(model)
    with skipping.microbatch(is_last=True):
        skipping.backward(skipping.module(samples()[0]).sum() * torch.nan)
    skipping.step(1e-2, 0.0)
    results = [train_step(model, max_norm=0.5) for model in (skipping, straight)]
    assert [result.applied.item() for result in results] == [1.0, 1.0]
    assert torch.equal(weights(skipping), weights(straight))
    assert skipping.state_dict()["optimizer.step"].item() == 2.0


def test_without_that_request_a_step_is_made_and_its_norm_tells() -> None:
    model = strategy()
    with model.microbatch(is_last=True):
        model.backward(model.module(samples()[0]).sum() * torch.inf)
    result = model.step(1e-2, 1.0)
    assert result.applied.item() == 1.0
    assert not torch.isfinite(result.grad_norm)
