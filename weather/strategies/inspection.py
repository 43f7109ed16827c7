"""Is everything that is trained in order? Parameters in their groups, moments with their weights, gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from weather.errors import TrainingError, WeatherError
from weather.runtime.collectives import fail_together, sum_over_ranks

if TYPE_CHECKING:
    from weather.strategies.base import Strategy


def check_groups(parameters: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
    """See that every trainable parameter is in exactly one of the optimizer's groups, and nothing else is.

    Raises:
        TrainingError: names the first parameter for which that is not so.
    """
    seen: dict[int, int] = {}
    for index, group in enumerate(optimizer.param_groups):
        for parameter in group["params"]:
            if id(parameter) in seen:
                name = next((n for n, p in parameters.items() if p is parameter), "a parameter")
                raise TrainingError(
                    f"'{name}' is in the optimizer's groups {seen[id(parameter)]} and {index}",
                    rule="a weight in two groups would be stepped twice",
                )
            seen[id(parameter)] = index
    left_out = [name for name, p in parameters.items() if p.requires_grad and id(p) not in seen]
    if left_out:
        raise TrainingError(
            f"'{left_out[0]}' is in none of the optimizer's groups ({len(left_out)} such parameters)",
            rule="it would keep its first value for ever",
        )
    foreign = set(seen) - {id(p) for p in parameters.values()}
    if foreign:
        raise TrainingError(
            f"{len(foreign)} of the optimizer's parameters are not the model's",
            rule="the optimizer is made from the model that is trained, after it is wrapped",
        )


def check_state(strategy: Strategy) -> None:
    """See, after a resume, that weights and moments fit each other and are finite; all ranks call it.

    Raises:
        TrainingError: names the parameter, what is wrong with it, and the rule; on every rank.
    """
    fail_together(_wrong_state(strategy))


def _wrong_state(strategy: Strategy) -> WeatherError | None:
    weights, computed = strategy.weights(), strategy.computed_weights()
    tensors = {("weight", name): tensor for name, tensor in weights.items()}
    for kind in ("exp_avg", "exp_avg_sq"):
        moments = strategy.moments(kind)
        for name, weight in weights.items():
            if name not in moments:
                return TrainingError(f"the optimizer has no {kind} of '{name}'", rule="a resume restores all moments")
            found, wanted = moments[name], (tuple(weight.shape), torch.float32)
            if (tuple(found.shape), found.dtype) != wanted:
                return TrainingError(
                    f"{kind} of '{name}' is {found.dtype} {list(found.shape)}, its weight {list(weight.shape)}",
                    rule="moments have the shape of their weight, in float32",
                )
            tensors[kind, name] = found
    finite = torch.stack([torch.isfinite(own_slice(tensor)).all() for tensor in tensors.values()])
    for (kind, name), good in zip(tensors, finite.tolist(), strict=True):
        if not good:
            return TrainingError(
                f"{kind} of '{name}' holds values that are not finite",
                rule="what a run goes on with is finite",
                fix="resume from an earlier checkpoint: --resume PATH",
            )
    for name, weight in weights.items():
        if not torch.equal(own_slice(computed[name]), own_slice(weight).to(computed[name].dtype)):
            return TrainingError(
                f"the model computes with another '{name}' than the optimizer steps",
                rule="after a resume both come from the checkpoint",
            )
    return None


def gradient_problems(strategy: Strategy) -> dict[str, str]:
    """What is odd about the gradient: {parameter: missing | zero | not finite}, the same on every rank.

    Called by all ranks between the last backward pass and the step. A gradient that only some ranks lack counts as
    present, for the mean over the ranks has it.
    """
    names, facts = [], []
    for name, gradient in strategy.gradients():
        piece = None if gradient is None else own_slice(gradient)
        names.append(name)
        present = torch.zeros(3, device=strategy.device.torch_device)
        if piece is not None:
            seen = (torch.ones((), device=piece.device), (piece != 0).any(), (~torch.isfinite(piece)).any())
            present += torch.stack([fact.float() for fact in seen]).to(present.device)
        facts.append(present)
    problems = {}
    for name, (present, nonzero, nonfinite) in zip(names, sum_over_ranks(torch.stack(facts)).tolist(), strict=True):
        if not present:
            problems[name] = "missing"
        elif nonfinite:
            problems[name] = "not finite"
        elif not nonzero:
            problems[name] = "zero"
    return problems


def own_slice(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's slice of a sharded tensor; any other as it is."""
    from torch.distributed.tensor import DTensor

    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).detach()
