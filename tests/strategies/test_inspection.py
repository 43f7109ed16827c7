"""Whatever is wrong with groups, moments or gradients is found, and the parameter is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import nn

from tests.strategies.test_single import samples, strategy, train_step
from weather.errors import TrainingError
from weather.strategies.inspection import check_groups, check_state, gradient_problems
from weather.strategies.single import SingleProcess

# --- groups of the optimizer ---


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))


def adam(*groups: list[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW([{"params": groups[0]}])
    for group in groups[1:]:
        # torch itself refuses a parameter twice; a strategy that builds groups of its own may not.
        optimizer.param_groups.append({**optimizer.param_groups[0], "params": group})
    return optimizer


def test_every_parameter_once_is_right() -> None:
    parameters = dict(model().named_parameters())
    weights = [p for p in parameters.values() if p.ndim == 2]
    check_groups(parameters, adam(weights, [p for p in parameters.values() if p.ndim < 2]))


def test_a_parameter_that_is_left_out_is_named() -> None:
    parameters = dict(model().named_parameters())
    chosen = [p for name, p in parameters.items() if name in ("0.weight", "1.bias")]
    with pytest.raises(TrainingError, match=r"'0\.bias' is in none of the optimizer's groups \(2 such parameters\)"):
        check_groups(parameters, adam(chosen))


def test_a_parameter_that_is_not_trained_may_be_left_out() -> None:
    parameters = dict(model().named_parameters())
    parameters["0.bias"].requires_grad_(False)
    check_groups(parameters, adam([p for name, p in parameters.items() if name != "0.bias"]))


def test_a_parameter_in_two_groups_is_named_with_both() -> None:
    parameters = dict(model().named_parameters())
    with pytest.raises(TrainingError, match=r"'1\.weight' is in the optimizer's groups 0 and 2.*stepped twice"):
        check_groups(parameters, adam(list(parameters.values()), [], [parameters["1.weight"]]))


def test_parameters_of_another_model_are_counted() -> None:
    ours, theirs = dict(model().named_parameters()), model()
    with pytest.raises(TrainingError, match=r"2 of the optimizer's parameters are not the model's"):
        check_groups(ours, adam([*ours.values(), *theirs[0].parameters()]))


def test_a_strategy_refuses_an_optimizer_of_another_model() -> None:
    """As when it was made before the model was moved or wrapped."""
    other = nn.Linear(3, 2)
    found = strategy()
    with pytest.raises(TrainingError, match="'weight' is in none"):
        found.setup(lambda: nn.Linear(3, 2), lambda _: torch.optim.AdamW(other.parameters()))


# --- state after a resume ---


@pytest.fixture
def trained() -> SingleProcess:
    found = strategy()
    train_step(found)
    return found


def without(name: str) -> Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]]:
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def test_a_state_that_was_trained_or_loaded_is_right(trained: SingleProcess) -> None:
    check_state(trained)
    fresh = strategy()
    fresh.load_state_dict({name: tensor.clone() for name, tensor in trained.state_dict().items()})
    check_state(fresh)


@pytest.mark.parametrize("kind", ["exp_avg", "exp_avg_sq"])
def test_a_moment_that_is_missing_is_named(trained: SingleProcess, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    moments = trained.moments
    monkeypatch.setattr(trained, "moments", lambda k: without("bias" if k == kind else "")(moments(k)))
    with pytest.raises(TrainingError, match=rf"the optimizer has no {kind} of 'bias'"):
        check_state(trained)


@pytest.mark.parametrize("kind", ["exp_avg", "exp_avg_sq"])
def test_a_moment_that_the_optimizer_has_lost_is_named(trained: SingleProcess, kind: str) -> None:
    del trained.optimizer.state[trained.parameters["bias"]][kind]
    with pytest.raises(TrainingError, match=rf"the optimizer has no {kind} of 'bias'; a resume restores all moments"):
        check_state(trained)


def test_an_optimizer_that_has_not_stepped_has_no_moments() -> None:
    with pytest.raises(TrainingError, match="the optimizer has no exp_avg of 'weight'"):
        check_state(strategy())


@pytest.mark.parametrize(
    ("moment", "described"),
    [
        (torch.zeros(2, 3, dtype=torch.bfloat16), r"torch\.bfloat16 \[2, 3\]"),
        (torch.zeros(2, 3, dtype=torch.float64), r"torch\.float64 \[2, 3\]"),
        (torch.zeros(3, 2), r"torch\.float32 \[3, 2\]"),
        (torch.zeros(6), r"torch\.float32 \[6\]"),
        (torch.zeros(()), r"torch\.float32 \[\]"),
    ],
    ids=["bf16", "fp64", "transposed", "flat", "scalar"],
)
def test_a_moment_that_does_not_fit_its_weight_is_named(
    trained: SingleProcess, moment: torch.Tensor, described: str
) -> None:
    trained.optimizer.state[trained.parameters["weight"]]["exp_avg_sq"] = moment
    with pytest.raises(TrainingError, match=rf"exp_avg_sq of 'weight' is {described}, its weight \[2, 3\]"):
        check_state(trained)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", ["exp_avg", "exp_avg_sq"])
def test_a_moment_that_is_not_finite_is_named(trained: SingleProcess, kind: str, value: float) -> None:
    trained.moments(kind)["bias"][1] = value
    with pytest.raises(TrainingError, match=rf"{kind} of 'bias' holds values that are not finite.*--resume PATH"):
        check_state(trained)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_weight_that_is_not_finite_is_named(trained: SingleProcess, value: float) -> None:
    """And not as one that the model does not compute with, although NaN equals nothing."""
    trained.weights()["bias"][1] = value
    with pytest.raises(TrainingError, match=r"^weight of 'bias' holds values that are not finite.*--resume PATH"):
        check_state(trained)


def test_computing_with_other_weights_than_those_that_are_stepped_is_found(
    trained: SingleProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = {name: tensor.clone() for name, tensor in trained.weights().items()}
    monkeypatch.setattr(trained, "computed_weights", lambda: stale)
    check_state(trained)
    stale["weight"][1, 2] += 1e-3
    with pytest.raises(TrainingError, match="computes with another 'weight' than the optimizer steps"):
        check_state(trained)


def test_computed_weights_of_16_bits_are_the_rounded_ones(
    trained: SingleProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = {name: tensor.bfloat16() for name, tensor in trained.weights().items()}
    monkeypatch.setattr(trained, "computed_weights", lambda: rounded)
    check_state(trained)
    rounded["bias"] *= 1.01  # bf16 has steps of at most 0.8 %
    with pytest.raises(TrainingError, match="another 'bias'"):
        check_state(trained)


# --- gradients ---


def backward(found: SingleProcess) -> SingleProcess:
    inputs, targets = samples()
    with found.microbatch(is_last=True):
        found.backward((found.module(inputs) - targets).square().mean())
    return found


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gradient_in_order_has_no_problems(precision: str) -> None:
    assert gradient_problems(backward(strategy(precision))) == {}


def test_a_gradient_that_was_never_made_is_missing() -> None:
    assert gradient_problems(strategy()) == {"weight": "missing", "bias": "missing"}
    found = backward(strategy())
    found.parameters["bias"].grad = None
    assert gradient_problems(found) == {"bias": "missing"}


def test_a_gradient_is_zero_only_if_all_of_it_is() -> None:
    found = backward(strategy())
    gradient = found.parameters["weight"].grad
    assert gradient is not None
    gradient.zero_()
    assert gradient_problems(found) == {"weight": "zero"}
    gradient[1, 2] = 1e-30
    assert gradient_problems(found) == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_enough(value: float) -> None:
    found = backward(strategy())
    gradient = found.parameters["weight"].grad
    assert gradient is not None
    gradient[0, 1] = value
    assert gradient_problems(found) == {"weight": "not finite"}
    gradient.zero_()
    gradient[0, 1] = value
    assert gradient_problems(found) == {"weight": "not finite"}, "and not zero"


def test_looking_at_gradients_changes_none() -> None:
    found, other = backward(strategy()), backward(strategy())
    gradient_problems(found)
    for name, parameter in found.parameters.items():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, other.parameters[name].grad)
