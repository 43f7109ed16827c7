"""What every combination is compared with: the gradient in fp32 with plain attention, computed without a strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from weather.diagnosis.subject import Subject
from weather.runtime.collectives import sum_over_ranks


@dataclass(frozen=True)
class Reference:
    """Loss and gradient of the global batch before the first step, in host memory; the same on every rank.

    Attributes:
        gradients: by parameter, float32; None where there is none.
        norms, weights: norm of each parameter's gradient, and of itself.
    """

    loss: float
    gradients: dict[str, torch.Tensor | None]
    norms: dict[str, float]
    weights: dict[str, float]


def compute_reference(subject: Subject, device: torch.device) -> Reference:
    """By hand: sample after sample, for attention's weights take much memory, with recomputed blocks."""
    model = subject.build(device.type, torch.float32, attention="math", activation_checkpointing="full").to(device)
    loss = 0.0
    for rank, share in subject.shares().items():
        for states, truth in zip(*(each.to(device).split(1) for each in subject.samples(rank)), strict=True):
            error = subject.loss(model(states), truth) * (share / subject.batch)
            error.backward()
            loss += error.item()
    parameters = dict(model.named_parameters())
    gradients = {name: None if p.grad is None else p.grad.to("cpu", torch.float32) for name, p in parameters.items()}
    return Reference(
        loss,
        gradients,
        {name: 0.0 if g is None else norm(g) for name, g in gradients.items()},
        {name: norm(p.detach().cpu()) for name, p in parameters.items()},
    )


def norm(tensor: torch.Tensor) -> float:
    """Summed in double precision."""
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).item()


@dataclass(frozen=True)
class Comparison:
    """A gradient beside that of the reference.

    Attributes:
        norms: of each parameter's gradient.
        difference: norm of the difference over that of the reference.
    """

    norms: dict[str, float]
    difference: float

    @property
    def norm(self) -> float:
        """Over all parameters."""
        return sum(each**2 for each in self.norms.values()) ** 0.5


def compare(gradients: Mapping[str, torch.Tensor], reference: Reference, factor: float = 1.0) -> Comparison:
    """Compare gradients, whole in host memory, with the reference; all ranks call it.

    Args:
        gradients: those that this rank has; together the ranks have all, some of them many times.
        factor: that the gradients carry (loss scaling).
    """
    sums = torch.zeros(len(reference.gradients), 3, dtype=torch.float64)
    for row, (name, expected) in zip(sums, reference.gradients.items(), strict=True):
        if name in gradients:
            found = gradients[name] / factor
            away = found if expected is None else found - expected
            row += torch.tensor([1.0, norm(found) ** 2, norm(away) ** 2], dtype=torch.float64)
    norms, away_squared = {}, 0.0
    for (name, expected_norm), (count, squares, away) in zip(
        reference.norms.items(), sum_over_ranks(sums).tolist(), strict=True
    ):
        norms[name] = (squares / count) ** 0.5 if count else 0.0
        away_squared += away / count if count else expected_norm**2
    total = sum(each**2 for each in reference.norms.values()) ** 0.5
    return Comparison(norms, away_squared**0.5 / total if total else float("inf"))
