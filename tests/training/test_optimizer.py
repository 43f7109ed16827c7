"""What is decayed, and the moving average of the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.model.tiny import tiny_model
from weather.config.schema import TrainingSection
from weather.training.optimizer import WeightAverage, build_optimizer


def test_matrices_are_decayed_and_nothing_else() -> None:
    model = tiny_model(qk_norm=True, periodic_longitude=True, sequence_length=2)
    optimizer = build_optimizer(model, TrainingSection(weight_decay=0.1))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    by_name = {name: decay[id(parameter)] for name, parameter in model.named_parameters()}
    assert len(by_name) == len(decay), "every parameter once"
    kept = {name for name, rate in by_name.items() if rate == 0.0}
    assert kept == {
        name for name in by_name if name.endswith("bias") or "norm" in name or name.startswith(("space_", "time_"))
    }
    assert {"embedding.weight", "head.weight", "blocks.1.attention.query.weight", "blocks.0.mlp.expand.weight"} <= (
        by_name.keys() - kept
    )
    assert {rate for name, rate in by_name.items() if name not in kept} == {0.1}


def test_decay_is_decoupled_from_the_gradient() -> None:
    # With no gradient AdamW only decays: w <- (1 - lr * decay) w.
    model = tiny_model()
    optimizer = build_optimizer(model, TrainingSection(weight_decay=0.1, learning_rate=0.5))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(model.head.weight.detach(), 0.95 * before["head.weight"])
    assert torch.equal(model.space_positions.table, before["space_positions.table"])
    assert torch.equal(model.norm.weight, before["norm.weight"])


def test_first_step_of_adam_is_the_learning_rate() -> None:
    # After one step both moments are bias-corrected to g and g^2: each weight moves by lr against the gradient's sign.
    model = nn.Linear(3, 2, bias=False)
    optimizer = build_optimizer(model, TrainingSection(weight_decay=0.0, learning_rate=1e-2, adam_betas=(0.8, 0.9)))
    assert optimizer.defaults["betas"] == (0.8, 0.9)
    before = model.weight.detach().clone()
    model.weight.grad = torch.tensor([[1.0, -2.0, 3.0], [-0.1, 0.2, 5.0]])
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before - 1e-2 * model.weight.grad.sign())


# --- the moving average ---


def test_average_follows_the_weights_early_and_remembers_late() -> None:
    weight = nn.Parameter(torch.zeros(2))
    average = WeightAverage({"w": weight}, decay=0.9)
    expected = 0.0
    for step in range(200):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        # min(0.9, (1 + n) / (10 + n)): 0.1 in the first step, 0.9 from step 80 on.
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
        assert average.average["w"].tolist() == pytest.approx([expected] * 2, rel=1e-5)  # float32, up to 200 steps
    assert expected == pytest.approx(199 - 9.0, abs=0.1), "decay 0.9 lags a line by 0.9 / 0.1 steps"


def test_average_starts_at_the_weights_and_leaves_them_alone() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    average = WeightAverage({"w": weight}, decay=0.5)
    assert torch.equal(average.average["w"], weight)
    assert average.average["w"].data_ptr() != weight.data_ptr()
    average.update(0)
    assert torch.equal(weight, torch.tensor([1.0, 2.0]))


def test_swap_exchanges_in_place_and_back_to_the_bit() -> None:
    model = tiny_model()
    average = WeightAverage(dict(model.named_parameters()), decay=0.99)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    average.update(0)
    storages = [parameter.data_ptr() for parameter in model.parameters()]
    live = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    averaged = {name: tensor.clone() for name, tensor in average.average.items()}
    average.swap()
    assert all(torch.equal(parameter, averaged[name]) for name, parameter in model.named_parameters())
    average.swap()
    assert all(torch.equal(parameter, live[name]) for name, parameter in model.named_parameters())
    assert all(torch.equal(average.average[name], averaged[name]) for name in averaged)
    assert [parameter.data_ptr() for parameter in model.parameters()] == storages, "the optimizer still holds them"
