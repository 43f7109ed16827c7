"""The lead of the forecast: no effect at the start, every sample its own after it."""

from __future__ import annotations

import torch

from tests.model.tiny import lively_model, random_states, tiny_model, tiny_section
from weather.model.lead import LeadEmbedding, Modulation


def test_it_starts_as_the_model_without_a_lead() -> None:
    plain = tiny_model()
    told = tiny_model(lead_conditioning=True)
    told.load_state_dict(plain.state_dict(), strict=False)
    states = random_states(tiny_section())
    assert torch.equal(told(states, torch.tensor([6.0, 24.0])), plain(states))


def test_every_sample_has_its_own_lead() -> None:
    model = lively_model(lead_conditioning=True)
    for module in model.modules():
        if isinstance(module, Modulation):
            torch.nn.init.normal_(module.linear.weight, std=0.3)
    states = random_states(tiny_section(), 3)
    states[1] = states[0]
    mixed = model(states, torch.tensor([6.0, 24.0, 24.0]))
    assert (mixed[0] - mixed[1]).abs().max() > 0.01, "the same state over another lead"
    for row, hours in enumerate((6.0, 24.0, 24.0)):
        # A batch of one is multiplied by another kernel: float32 rounding.
        torch.testing.assert_close(
            model(states[row : row + 1], torch.tensor([hours]))[0], mixed[row], rtol=0, atol=1e-4
        )


def test_gradients_are_the_same_when_blocks_are_recomputed() -> None:
    def gradients(mode: str) -> dict[str, torch.Tensor]:
        model = lively_model(lead_conditioning=True, activation_checkpointing=mode, dropout=0.1)
        torch.manual_seed(3)
        model(random_states(tiny_section()), torch.tensor([6.0, 12.0])).square().mean().backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}

    kept, recomputed = gradients("none"), gradients("full")
    assert kept.keys() == recomputed.keys() and "blocks.1.modulation.linear.weight" in kept
    assert all(torch.equal(kept[name], recomputed[name]) for name in kept)


def test_leads_are_told_apart() -> None:
    torch.manual_seed(0)
    hours = torch.tensor([1.0, 6.0, 12.0, 24.0, 72.0, 240.0])
    vectors = LeadEmbedding(64)(hours)
    distances = torch.cdist(vectors, vectors) + 10 * torch.eye(len(hours))
    assert distances.min() > 0.05 * vectors.norm(dim=1).mean()
