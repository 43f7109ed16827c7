"""AdamW with decay where it belongs, and the moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from weather.config.schema import TrainingSection


def build_optimizer(model: nn.Module, section: TrainingSection) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019); norms, biases and positions are not decayed.

    The fused kernel is used where there is one: it is several times faster than the loop over parameters.
    """
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (kept if parameter.ndim < 2 or "positions" in name else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": section.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=section.learning_rate,
        betas=section.adam_betas,
        fused=next(model.parameters()).device.type in ("cpu", "cuda"),
    )


class WeightAverage:
    """Exponential moving average of named weights: a <- d a + (1 - d) w after each step.

    Early on, d is at most (1 + n) / (10 + n) after n steps, so that the average does not remember the random start.

    Args:
        weights: live, in the pieces that this rank holds.
        decay: d.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], decay: float) -> None:
        self.decay = decay
        self.live = dict(weights)
        self.average = {name: weight.detach().clone() for name, weight in self.live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after optimizer step `step` (from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [w.detach() for w in self.live.values()], weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange weights and average in place; called twice it changes nothing."""
        for name, live in self.live.items():
            kept = live.detach().clone()
            live.copy_(self.average[name])
            self.average[name].copy_(kept)
