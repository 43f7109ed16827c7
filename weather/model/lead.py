"""How the blocks are told the lead of the forecast: adaptive layer norm, as in DiT and Stormer.

A sinusoidal embedding of the lead goes through a small MLP; from it each block's own linear layer makes a shift, a
scale and a gate for both of its residual branches (Peebles & Xie 2023, section 3.2; Nguyen et al. 2023, section 3.2).
They count from 0 as `norm * (1 + scale) + shift` and `(1 + gate) * branch`, and start at 0, so that a block starts as
the one without a lead. (DiT's gate has no 1: its blocks start as the identity.) Shapes: B batch, N tokens, D width.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn


class LeadEmbedding(nn.Module):
    """Leads in hours to vectors [B, D]: sines and cosines of periods from `SHORTEST` to `LONGEST`, then an MLP."""

    FREQUENCIES = 32
    SHORTEST, LONGEST = 6.0, 6000.0  # hours; an hour more or less shows, and leads of many days differ

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(2 * self.FREQUENCIES, dim)
        self.contract = nn.Linear(dim, dim)

    def forward(self, hours_B: torch.Tensor) -> torch.Tensor:
        # Worked out each time, not kept: a buffer would have no values where a strategy builds the model without them.
        steps = torch.linspace(0, 1, self.FREQUENCIES, device=hours_B.device)
        waves = hours_B[:, None] * (2 * math.pi / self.SHORTEST) * (self.SHORTEST / self.LONGEST) ** steps
        features = torch.cat([waves.sin(), waves.cos()], dim=1)
        return self.contract(F.silu(self.expand(features)))


class Modulation(nn.Module):
    """A vector [B, D] to `count` vectors [B, 1, D], zero at the start, in float32 as the norms that they modulate."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(dim, count * dim)

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, lead_BD: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.linear(F.silu(lead_BD)).float().unsqueeze(1).chunk(self.count, dim=2)  # type: ignore[no-any-return]


def modulate(x_BND: torch.Tensor, shift_B1D: torch.Tensor, scale_B1D: torch.Tensor) -> torch.Tensor:
    """x * (1 + scale) + shift."""
    return torch.addcmul(shift_B1D, x_BND, 1 + scale_B1D)


def lead_parameters(dim: int, layers: int) -> tuple[int, int]:
    """Parameters of the embedding, and of all modulations: of the blocks and of the last norm."""
    inputs = 2 * LeadEmbedding.FREQUENCIES
    return dim * (inputs + 1) + dim * (dim + 1), (6 * layers + 2) * dim * (dim + 1)


def lead_flops(dim: int, layers: int) -> int:
    """FLOPs of their matrix products for one sample, forward."""
    return 2 * dim * (2 * LeadEmbedding.FREQUENCIES + dim + (6 * layers + 2) * dim)
