"""What one of two real ranks meets, both act on: a gradient that is not finite, a state that is damaged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.distributed.pair import run_pair

RANK = """
import json
import torch
from torch.distributed.tensor import DTensor
from tests.model.tiny import random_states, tiny_model, tiny_section
from weather.config.wrapper import ConfigWrapper
from weather.errors import TrainingError
from weather.runtime.device import choose_device
from weather.runtime.collectives import start_process_group, stop_process_group
from weather.runtime.ranks import find_ranks
from weather.strategies import find_strategy
from weather.strategies.inspection import check_state, gradient_problems
from weather.training.optimizer import build_optimizer

ranks = find_ranks()
start_process_group(ranks, "gloo", 1.0, None)
states = random_states(tiny_section())
norms = []


def own(tensor):
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def step(strategy, factor):
    with strategy.microbatch(is_last=True):
        strategy.backward(strategy.module(states).square().mean() * factor)
    problems = gradient_problems(strategy)
    result = strategy.step(1e-3, 1.0)
    norms.append(result.grad_norm.item())
    return result.applied.item(), problems


def try_out(name, **options):
    training = {"strategy": name, "batch_size": 4, "on_nonfinite": "skip", **options}
    config = ConfigWrapper({"training": training})
    device = choose_device("cpu", "fp32", ranks)
    strategy = find_strategy(name)(config, device, ranks)
    strategy.setup(tiny_model, lambda model: build_optimizer(model, config.training))
    norms.clear()
    said = {"first": step(strategy, 1.0), "norm": norms[0]}
    before = {key: own(tensor).clone() for key, tensor in strategy.state_dict().items()}
    applied, problems = step(strategy, float("inf") if ranks.rank == 1 else 1.0)
    after = strategy.state_dict()
    said["bad"] = applied, sorted(set(problems.values()))
    said["changed"] = [key for key in before if not torch.equal(own(after[key]), before[key])]
    said["next"] = step(strategy, 1.0)
    check_state(strategy)
    if ranks.rank == 1:
        own(strategy.moments("exp_avg")["blocks.1.mlp.expand.weight"])[-1] = float("nan")
    try:
        check_state(strategy)
    except TrainingError as error:
        said["damaged"] = str(error)
    return said


cases = {"ddp": {}, "fsdp": {}, "fsdp hybrid": {"shard_size": 1}, "fsdp offloaded": {"cpu_offload": True}}
print(json.dumps({case: try_out(case.split()[0], **options) for case, options in cases.items()}))
stop_process_group()
"""


@pytest.fixture(scope="module")
def said() -> list[dict[str, dict[str, Any]]]:
    return [json.loads(lines[-1]) for lines in run_pair(RANK)]


@pytest.mark.parametrize("case", ["ddp", "fsdp", "fsdp hybrid", "fsdp offloaded"])
def test_both_ranks_leave_out_a_step_that_one_has_spoilt(said: list[dict[str, dict[str, Any]]], case: str) -> None:
    assert said[0][case] == said[1][case]
    facts = said[0][case]
    assert facts["first"] == [1.0, {}]
    assert facts["bad"] == [0.0, ["not finite"]]
    assert facts["changed"] == [], "weights, moments and AdamW's step"
    assert facts["next"] == [1.0, {}]


@pytest.mark.parametrize("case", ["ddp", "fsdp", "fsdp hybrid", "fsdp offloaded"])
def test_both_ranks_refuse_a_state_that_one_holds_damaged(said: list[dict[str, dict[str, Any]]], case: str) -> None:
    for facts in (said[0][case], said[1][case]):
        assert "exp_avg of 'blocks.1.mlp.expand.weight' holds values that are not finite" in facts["damaged"]


@pytest.mark.parametrize("case", ["fsdp", "fsdp hybrid", "fsdp offloaded"])
def test_the_norm_is_that_of_the_whole_gradient(said: list[dict[str, dict[str, Any]]], case: str) -> None:
    norms = [facts[case]["norm"] for facts in said]
    assert norms[0] == norms[1], "both ranks clip by the same"
    assert norms[0] == pytest.approx(said[0]["ddp"]["norm"], rel=1e-5)  # float32 sums in another order
