"""A sound model has nothing to complain of; each planted defect is found and named."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.diagnosis.examined import examine, findings, verdicts
from weather.diagnosis import flops_check, precisions, trial
from weather.diagnosis.findings import Section, Severity
from weather.diagnosis.subject import Subject
from weather.errors import ConfigError
from weather.model import attention
from weather.model.flops import ModelCost, model_cost
from weather.model.transformer import WeatherTransformer
from weather.strategies.single import SingleProcess
from weather.training.optimizer import build_optimizer

ROWS = [("single", precision, kernel) for precision in ("fp32", "bf16", "fp16") for kernel in ("math", "sdpa")]


def plant(monkeypatch: pytest.MonkeyPatch, change: Callable[[WeatherTransformer], object]) -> None:
    """Build every model with a defect."""
    sound = Subject.build

    def build(*arguments: Any, **options: Any) -> WeatherTransformer:
        model = sound(*arguments, **options)
        change(model)
        return model

    monkeypatch.setattr(Subject, "build", build)


class Zero(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


# --- a sound model ---


@pytest.fixture(scope="module")
def sound() -> dict[str, Section]:
    return examine()


def test_a_sound_model_has_notes_only(sound: dict[str, Section]) -> None:
    assert findings(sound) == []
    assert verdicts(sound) == dict.fromkeys(ROWS, "good")
    for section in sound.values():
        assert all(len(row) == len(section.columns) for row in section.rows)


def test_precisions_differ_by_their_rounding(sound: dict[str, Section]) -> None:
    """Not by nothing, which would mean that they were not used, and not by less than the next one."""
    rows = {row[:3]: row for row in sound["precisions and strategies"].rows}
    column = precisions.COLUMNS.index("gradient_difference")
    off = {name: rows["single", name, "sdpa"][column] for name in precisions.LIMITS}
    assert 0 < off["fp32"] < 1e-5 < off["fp16"] < off["bf16"] < precisions.LIMITS["bf16"].gradient
    assert rows["single", "fp32", "math"][column] == 0, "the reference, through a strategy"


def test_what_is_not_there_is_a_note(sound: dict[str, Section]) -> None:
    notes = [finding.what for finding in findings(sound, least=Severity.NOTE)]
    assert any("flash-attn needs a CUDA or ROCm device, not cpu" in note for note in notes)
    assert any("ddp, deepspeed, fsdp" in note for note in notes)


def test_parameters_and_blocks_are_all_looked_at(sound: dict[str, Section]) -> None:
    parts = [row[0] for row in sound["gradient flow"].rows]
    assert [part for part in parts if part.startswith("block")] == ["block 0", "block 1", "block 2"]
    assert {"embedding", "space_positions", "time_positions", "norm", "head"} < set(parts)
    count = len(sound["optimizer"].rows)
    assert count == len(ROWS)
    assert {row[3] for row in sound["optimizer"].rows} == {"53 of 53 tensors"}


def test_flops_agree_and_differences_are_explained(sound: dict[str, Section]) -> None:
    rows = {row[0]: row for row in sound["FLOPs"].rows}
    assert len(rows) == 5
    assert all(row[5] == 0 for row in rows.values()), "nothing is unexplained, to the last FLOP"
    assert rows["torch, forward, whole model"][3] == 1.0
    assert rows["DeepSpeed, forward, examined"][3] == 1.0
    assert rows["torch, training, examined, sdpa on cpu"][3] < 0.99
    assert "fused" in rows["torch, training, examined, sdpa on cpu"][6]


@pytest.mark.parametrize(
    "settings",
    [
        {"predict": "tendency"},  # its head starts at zero
        {"qk_norm": True, "qkv_bias": False, "sequence_length": 2, "output_channels": 2},
        {"dropout": 0.3, "attention_dropout": 0.3, "stochastic_depth": 0.3},
        {"activation_checkpointing": "full", "periodic_longitude": True},
        {"img_size": [9, 18], "attention": "math", "precision": "bf16"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_every_kind_of_model_is_sound(settings: dict[str, Any]) -> None:
    assert findings(examine(**settings)) == []


# --- defects ---


def test_a_frozen_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda model: model.blocks[1].requires_grad_(False))
    dead = [finding for finding in findings(examine()) if finding.check == "model.dead"]
    assert [finding.severity for finding in dead] == [Severity.ERROR]
    assert dead[0].what.startswith("block 1 gets no gradient (15 of its 15 parameters)")


def test_a_block_that_is_multiplied_by_zero_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda model: setattr(model.blocks[2], "drop_path", Zero()))
    found = findings(examine())
    assert [finding.what.split(" gets")[0] for finding in found] == ["block 2"]


def test_a_block_whose_weights_are_zero_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def zero(model: WeatherTransformer) -> None:
        for parameter in model.blocks[0].parameters():
            nn.init.zeros_(parameter)

    plant(monkeypatch, zero)
    assert ("model.weights", "all weight matrices of block 0 are zero") in [
        (finding.check, finding.what) for finding in findings(examine())
    ]


def test_one_parameter_without_gradient_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, lambda model: setattr(model.blocks[1].mlp.expand.bias, "requires_grad", False))
    (found,) = findings(examine())
    assert (found.severity, found.what) == (
        Severity.WARNING,
        "block 1: 'blocks.1.mlp.expand.bias' gets no gradient",
    )


def test_wrong_attention_is_found_alone_and_in_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that scales its scores wrongly; `math` does without it."""
    right = F.scaled_dot_product_attention

    def wrong(query: torch.Tensor, *others: torch.Tensor, **options: Any) -> torch.Tensor:
        return right(query * 1.1, *others, **options)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", wrong)
    sections = examine(precision="bf16")
    found = {(finding.severity, finding.check, finding.what.split(" is off")[0]) for finding in findings(sections)}
    assert (Severity.ERROR, "model.attention", "sdpa in bf16") in found, "the run's own"
    assert (Severity.WARNING, "model.attention", "sdpa in fp32") in found
    assert not any("math" in what for *_, what in found)
    assert verdicts(sections)["single", "fp32", "sdpa"] == "differs"
    assert verdicts(sections)["single", "fp32", "math"] == "good"


def test_a_precision_that_overflows_is_found_and_the_others_are_good(monkeypatch: pytest.MonkeyPatch) -> None:
    def large(model: WeatherTransformer) -> None:
        # Hidden values of 10^5 are more than float16 holds; the layer after it makes them small again.
        with torch.no_grad():
            for linear, factor in ((model.blocks[0].mlp.expand, 1e6), (model.blocks[0].mlp.contract, 1e-6)):
                linear.weight.mul_(factor)

    plant(monkeypatch, large)
    sections = examine()
    results = verdicts(sections)
    assert {kernel: results["single", "fp16", kernel] for kernel in ("math", "sdpa")} != dict.fromkeys(
        ("math", "sdpa"), "good"
    )
    assert results["single", "fp32", "sdpa"] == results["single", "bf16", "sdpa"] == "good"
    assert any("single, fp16, math" in finding.what for finding in findings(sections))


def test_running_out_of_memory_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    right = F.scaled_dot_product_attention

    def greedy(query: torch.Tensor, *others: torch.Tensor, **options: Any) -> torch.Tensor:
        if query.dtype == torch.bfloat16:
            raise torch.OutOfMemoryError("tried to allocate 80 GiB")
        return right(query, *others, **options)

    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", greedy)
    sections = examine()
    assert verdicts(sections) == dict.fromkeys(ROWS, "good") | {("single", "bf16", "sdpa"): "out of memory"}
    found = [each for section in sections.values() for each in section.findings if each.check == "model.memory"]
    assert len(found) == 2, "the kernel alone, and in the model"
    assert all(finding.severity == Severity.NOTE for finding in found), "the run would have fp32"
    assert "training.micro_batch_size" in found[1].fix


def test_a_parameter_that_the_optimizer_leaves_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(*arguments: Any) -> torch.optim.Optimizer:
        optimizer = build_optimizer(*arguments)
        del optimizer.param_groups[0]["params"][0]
        return optimizer

    monkeypatch.setattr(trial, "build_optimizer", forgetful)
    sections = examine()
    found = [finding for finding in findings(sections) if finding.check == "model.optimizer"]
    assert set(verdicts(sections).values()) == {"optimizer"}
    assert "'embedding.weight' is in none of the optimizer's groups" in found[0].what
    assert max(finding.severity for finding in found) == Severity.ERROR


def test_a_parameter_that_a_step_leaves_as_it_was_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(torch.optim.AdamW):
        def step(self, closure: Any = None) -> None:
            first = self.param_groups[0]["params"][0]
            kept = first.detach().clone()
            super().step()
            first.data.copy_(kept)

    monkeypatch.setattr(trial, "build_optimizer", lambda model, section: Lazy(model.parameters(), fused=True))
    what = [finding.what for finding in findings(examine()) if finding.check == "model.optimizer"]
    assert len(what) == len(ROWS)
    assert all("a step leaves 'time_positions' as it was, though it has a gradient" in each for each in what)


def test_a_gradient_norm_that_is_not_the_gradient_s_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = SingleProcess.clip_gradient
    monkeypatch.setattr(SingleProcess, "clip_gradient", lambda self, most: right(self, most) * 1.1)
    sections = examine()
    assert ("model.norm", Severity.ERROR) in {(finding.check, finding.severity) for finding in findings(sections)}
    assert verdicts(sections)["single", "fp32", "math"] == "wrong norm"


def test_a_wrong_count_of_flops_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that forgets attention."""

    def forgetful(section: Any) -> ModelCost:
        cost = model_cost(section)
        products = 4 * cost.tokens**2 * section.embed_dim * section.num_layers
        return dataclasses.replace(cost, forward_flops=cost.forward_flops - products)

    monkeypatch.setattr(flops_check, "model_cost", forgetful)
    found = findings(examine())
    assert {(finding.severity, finding.check) for finding in found} == {(Severity.ERROR, "model.flops")}
    assert any(finding.what.startswith("torch, forward, whole model") for finding in found)
    assert any(finding.what.startswith("DeepSpeed, forward, examined") for finding in found)


def test_without_deepspeed_its_count_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ConfigError("needs the package deepspeed, which is not installed")

    monkeypatch.setattr(flops_check, "require_deepspeed", missing)
    sections = examine()
    assert findings(sections) == []
    assert [finding.severity for finding in sections["FLOPs"].findings] == [Severity.NOTE]
    assert len(sections["FLOPs"].rows) == 4
