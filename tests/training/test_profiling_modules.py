"""FLOPs by module: DeepSpeed's profiler, torch's counter and the analytic count say the same, attention included."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.model.tiny import tiny_model, tiny_section
from weather.model.flops import model_cost
from weather.runtime.device import Device
from weather.runtime.ranks import find_ranks
from weather.training.profiling_modules import ModuleCosts, count_modules
from weather.training.profiling_tables import module_rows, module_table, top_kinds

CPU = Device("cpu", torch.device("cpu"), "fp32", "gloo")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"periodic_longitude": True, "sequence_length": 2},
    {"img_size": (9, 18), "qk_norm": True, "activation_checkpointing": "full"},
    {"attention": "sdpa", "activation_checkpointing": "selective", "num_layers": 3},
]


def count(**options: Any) -> ModuleCosts:
    return count_modules(tiny_section(**options), CPU, find_ranks(), batch=2)


@pytest.fixture
def no_deepspeed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "deepspeed" else find(name))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_deepspeed_counts_what_the_analytic_count_says(options: dict[str, Any]) -> None:
    costs, cost = count(**options), model_cost(tiny_section(**options))
    assert costs.counter == "DeepSpeed's FLOPs profiler"
    assert costs.modules[0].flops == costs.analytic_flops == 2 * cost.forward_flops
    assert costs.modules[0].parameters == cost.parameters
    assert costs.modules[0].seconds is not None and costs.modules[0].seconds > 0
    assert [module.name for module in costs.modules] == [name for name, _ in tiny_model(**options).named_modules()]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_without_deepspeed_torch_counts_the_same_in_every_module(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    theirs = count(**options)
    request.getfixturevalue("no_deepspeed")
    ours = count(**options)
    assert "pip install" in ours.counter and "torch's FLOP counter" in ours.counter
    assert [(m.name, m.flops, m.parameters) for m in ours.modules] == [
        (m.name, m.flops, m.parameters) for m in theirs.modules
    ]
    assert {module.seconds for module in ours.modules} == {None}


def test_a_device_without_room_is_counted_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("weather.training.profiling_modules._by_deepspeed", no_room)
    costs = count()
    assert costs.ratio == 1.0 and "no room for a second model" in costs.counter


def test_counting_leaves_torch_as_it_was() -> None:
    before = (F.linear, F.scaled_dot_product_attention, torch.matmul, torch.Tensor.__matmul__)
    count()
    assert (F.linear, F.scaled_dot_product_attention, torch.matmul, torch.Tensor.__matmul__) == before


def test_a_module_costs_what_its_children_cost() -> None:
    costs = {module.name: module for module in count().modules}
    tokens, dim, batch = 8, 16, 2
    attention = costs["blocks.0.attention"]
    projections = [costs[f"blocks.0.attention.{name}"].flops for name in ("query", "key", "value", "output")]
    assert projections == [2 * batch * tokens * dim * dim] * 4
    assert attention.flops == sum(projections) + batch * 2 * 2 * tokens * tokens * dim  # its own: Q K^T and A V
    assert costs["blocks"].flops == costs["blocks.0"].flops + costs["blocks.1"].flops
    assert costs["blocks.0"].flops == attention.flops + costs["blocks.0.mlp"].flops


def test_the_table_names_counter_and_ratio_and_goes_as_deep_as_asked(no_deepspeed: None) -> None:
    costs = count()
    assert {module.depth for module, _ in module_rows(costs, 2)} == {0, 1, 2}
    assert len(module_rows(costs, -1)) == len(costs.modules)
    text = module_table(costs, depth=3, top=2)
    assert "counted / analytic = 1.0000" in text and "They agree" in text
    first = top_kinds(costs.modules, depth=3, top=1)
    assert [kind for [(kind, _)] in first.values()] == ["ModuleList", "EncoderBlock", "MLP"]
    wrong = ModuleCosts(costs.modules, costs.batch, costs.counter, 2 * costs.analytic_flops)
    assert "counted / analytic = 0.5000" in module_table(wrong, depth=1, top=1)
    assert "They differ" in module_table(wrong, depth=1, top=1)
