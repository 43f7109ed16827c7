"""The analytic cost against what is there: parameters counted, matrix products counted while they run.

The counter sees every matrix product that PyTorch dispatches. It cannot see into a fused attention kernel on CPU, so
attention is `math` here: the same products, in the open.
"""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils.checkpoint import set_checkpoint_early_stop
from torch.utils.flop_counter import FlopCounterMode

from tests.model.tiny import random_states, tiny_model, tiny_section
from weather.config.schema import ModelSection
from weather.model.flops import model_cost
from weather.model.lead import LeadEmbedding

OPTIONS: list[dict[str, Any]] = [
    {},
    {"sequence_length": 3},
    {"periodic_longitude": True},
    {"periodic_longitude": True, "img_size": (8, 80)},  # more columns than waves are kept
    {"periodic_longitude": True, "img_size": (4, 4)},  # a single token
    {"qk_norm": True},
    {"qkv_bias": False},
    {"img_size": (9, 18)},
    {"img_size": (13, 7), "patch_size": 3},
    {"output_channels": 1},
    {"output_channels": 2, "sequence_length": 2, "predict": "tendency"},
    {"extra_channels": 2},
    {"extra_channels": 3, "output_channels": 2, "sequence_length": 2, "predict": "tendency", "img_size": (9, 18)},
    {"mlp_ratio": 3.5},
    {"mlp_ratio": 2.33},
    {"predict": "tendency"},
    {"num_layers": 1, "num_heads": 4, "embed_dim": 24, "patch_size": 2},
    {"num_layers": 5, "patch_size": 1, "img_size": (4, 6)},
    {"dropout": 0.1, "attention_dropout": 0.1, "stochastic_depth": 0.1},
    {"lead_conditioning": True},
    {"lead_conditioning": True, "num_layers": 5, "sequence_length": 2, "predict": "tendency"},
]


def name(options: dict[str, Any]) -> str:
    return "-".join(f"{key}={value}" for key, value in options.items()) or "plain"


def counted(section: ModelSection, *, backward: bool, batch: int = 1) -> int:
    """FLOPs that PyTorch's counter sees in a pass over `batch` samples."""
    model = tiny_model(**section.model_dump())
    with FlopCounterMode(display=False) as counter:
        forecast = model(random_states(section, batch))
        if backward:
            forecast.square().mean().backward()
    return counter.get_total_flops()


def input_gradient_of_embedding(section: ModelSection) -> int:
    """FLOPs of the gradient with respect to fields and lead, which training does not need and PyTorch leaves out."""
    assert section.input_channels != "auto"
    lead = 2 * 2 * LeadEmbedding.FREQUENCIES * section.embed_dim if section.lead_conditioning else 0
    return lead + 2 * model_cost(section).tokens * section.embedded_channels * section.patch_size**2 * section.embed_dim


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_parameters_are_exact(options: dict[str, Any]) -> None:
    model, cost = tiny_model(**options), model_cost(tiny_section(**options))
    embedding = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if name.startswith(("embedding.", "lead_embedding.")) or "positions" in name
    )
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert cost.embedding_parameters == embedding
    assert cost.non_embedding_parameters == cost.parameters - embedding


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_forward_flops_are_exact(options: dict[str, Any]) -> None:
    section = tiny_section(**options)
    assert counted(section, backward=False) == model_cost(section).forward_flops


@pytest.mark.parametrize("options", OPTIONS, ids=name)
def test_training_flops_are_three_forward_passes(options: dict[str, Any]) -> None:
    # A product's backward is two products of the same size. Only the patch embedding has one: its input is data. The
    # convention counts it all the same, so that the cost of training is 3 x forward whatever the first layer is.
    section = tiny_section(**options)
    cost = model_cost(section)
    assert cost.train_flops == 3 * cost.forward_flops
    assert counted(section, backward=True) == cost.train_flops - input_gradient_of_embedding(section)


def test_flops_are_those_of_one_sample() -> None:
    section = tiny_section()
    assert counted(section, backward=False, batch=3) == 3 * model_cost(section).forward_flops


def test_recomputation_is_run_but_not_counted() -> None:
    plain, recomputing = tiny_section(), tiny_section(activation_checkpointing="full")
    assert model_cost(recomputing) == model_cost(plain)
    blocks = model_cost(tiny_section(num_layers=4)).forward_flops - model_cost(plain).forward_flops
    # Left to itself PyTorch stops recomputing at the last tensor that backward needs, and so skips a last product.
    with set_checkpoint_early_stop(False):
        extra = counted(recomputing, backward=True) - counted(plain, backward=True)
    assert extra == blocks, "two blocks are run a second time"


def test_cost_of_a_known_model() -> None:
    # By hand: ViT-B/16 on 224 x 224 RGB (Dosovitskiy et al. 2021, table 1: 86 M parameters) has 85.8 M in patch
    # embedding, positions, blocks and last norm; here without class token and key biases, and with a head back to
    # the fields.
    section = ModelSection(
        embed_dim=768, num_layers=12, num_heads=12, patch_size=16, img_size=(224, 224), input_channels=3,
        output_channels=3,
    )  # fmt: skip
    cost = model_cost(section)
    block = 4 * 768**2 + 3 * 768 + 2 * 4 * 768**2 + 4 * 768 + 768 + 2 * 2 * 768
    embedding = 768 * 768 + 768 + 196 * 768 + 768
    assert cost.tokens == 196
    assert cost.parameters == 12 * block + embedding + 2 * 768 + 768 * 768 + 768
    # 12 blocks of 12 D^2 multiplications and additions a token, 4 N D for attention, and the two projections.
    assert cost.forward_flops == 2 * 196 * (12 * (12 * 768**2 + 2 * 196 * 768) + 2 * 768 * 768)


def test_sequences_cost_what_their_tokens_cost() -> None:
    one, four = model_cost(tiny_section()), model_cost(tiny_section(sequence_length=4))
    assert four.tokens == 4 * one.tokens
    assert four.forward_flops > 4 * (one.forward_flops - 2 * one.tokens * 16 * 48), "attention grows faster than tokens"
