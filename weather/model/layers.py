"""The parts of the encoder. Shapes: B batch, N tokens, D width, H heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from weather.model.attention import attend
from weather.model.lead import Modulation, modulate
from weather.model.recomputation import recomputed


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32, whatever the types of input and weights: some strategies keep 16-bit weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x.float(), self.normalized_shape, self.weight.float(), self.bias.float(), self.eps)


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Queries, keys and values have projections of their own, so that a column-wise split keeps heads whole. Keys have
    no bias: it would add the same number to all logits of a query, which the softmax cancels, and its gradient would
    be rounding noise.

    Args:
        dim: width D.
        heads: H, divides D.
        bias: of the projections of queries and values.
        normalize: LayerNorm of queries and keys over the head width (Dehghani et al. 2023, section 2.1).
        dropout: of the attention weights.
        kernel: see `weather.model.attention`.
    """

    def __init__(self, dim: int, heads: int, *, bias: bool, normalize: bool, dropout: float, kernel: str) -> None:
        super().__init__()
        self.head_dim = dim // heads
        self.dropout = dropout
        self.kernel = kernel
        self.query = nn.Linear(dim, dim, bias=bias)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=bias)
        self.query_norm = LayerNorm(self.head_dim) if normalize else nn.Identity()
        self.key_norm = LayerNorm(self.head_dim) if normalize else nn.Identity()
        self.output = nn.Linear(dim, dim)

    def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
        batch, tokens, _ = x_BND.shape
        query, key, value = (
            projection(x_BND).view(batch, tokens, -1, self.head_dim).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        query, key = self.query_norm(query).to(value.dtype), self.key_norm(key).to(value.dtype)
        dropout = self.dropout if self.training else 0.0
        mixed_BHND = attend(query, key, value, kernel=self.kernel, dropout=dropout)
        return self.output(mixed_BHND.transpose(1, 2).reshape(batch, tokens, -1))


class MLP(nn.Module):
    """Two linear layers with GELU between."""

    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BND: torch.Tensor) -> torch.Tensor:
        return self.contract(self.dropout(F.gelu(self.expand(x_BND))))


class StochasticDepth(nn.Module):
    """Drops a residual branch for whole samples and scales the kept ones up (Huang et al. 2016, section 3)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch_BND: torch.Tensor) -> torch.Tensor:
        if not self.training or self.rate == 0.0:
            return branch_BND
        kept = torch.empty(branch_BND.shape[0], 1, 1, device=branch_BND.device).bernoulli_(1 - self.rate)
        return branch_BND * (kept / (1 - self.rate)).to(branch_BND.dtype)


class EncoderBlock(nn.Module):
    """Pre-norm transformer block: x + attention(norm(x)), then x + MLP(norm(x)) (Dosovitskiy et al. 2021).

    With `lead`, both branches are modulated by the lead of the forecast (`weather.model.lead`).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_hidden: int,
        qkv_bias: bool,
        qk_norm: bool,
        dropout: float,
        attention_dropout: float,
        stochastic_depth: float,
        kernel: str,
        recompute: str,
        lead: bool = False,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.attention_norm = LayerNorm(dim)
        self.attention = SelfAttention(
            dim, heads, bias=qkv_bias, normalize=qk_norm, dropout=attention_dropout, kernel=kernel
        )
        self.mlp_norm = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_hidden, dropout)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = StochasticDepth(stochastic_depth)
        if lead:
            self.modulation = Modulation(dim, 6)

    def forward(self, x_BND: torch.Tensor, lead_BD: torch.Tensor | None = None) -> torch.Tensor:
        if lead_BD is None:
            return recomputed(self.residuals, x_BND, mode=self.recompute)
        return recomputed(self.modulated_residuals, x_BND, lead_BD, mode=self.recompute)

    def residuals(self, x_BND: torch.Tensor) -> torch.Tensor:
        """Both residual branches."""
        x_BND = x_BND + self.drop_path(self.dropout(self.attention(self.attention_norm(x_BND))))
        return x_BND + self.drop_path(self.dropout(self.mlp(self.mlp_norm(x_BND))))

    def modulated_residuals(self, x_BND: torch.Tensor, lead_BD: torch.Tensor) -> torch.Tensor:
        """Both residual branches as the lead changes them."""
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(lead_BD)
        mixed_BND = self.attention(modulate(self.attention_norm(x_BND), shift, scale))
        x_BND = x_BND + self.drop_path((1 + gate) * self.dropout(mixed_BND))
        mapped_BND = self.mlp(modulate(self.mlp_norm(x_BND), mlp_shift, mlp_scale))
        return x_BND + self.drop_path((1 + mlp_gate) * self.dropout(mapped_BND))


class SpacePositions(nn.Module):
    """Learned position of each (row, column) token: a free table, or for each row a Fourier series in longitude.

    The series (wavenumbers 0 to `WAVES`, fewer on narrow grids) is smooth and joins across the date line: the first
    and the last column are as near as any two neighbours.
    """

    WAVES = 8

    def __init__(self, rows: int, columns: int, dim: int, *, periodic: bool) -> None:
        super().__init__()
        self.columns, self.periodic = columns, periodic
        self.waves = min(self.WAVES, (columns - 1) // 2)
        self.table = nn.Parameter(torch.zeros(rows, 2 * self.waves + 1 if periodic else columns, dim))

    def reset_parameters(self, std: float) -> None:
        """Truncated normal, so that positions have standard deviation `std` either way."""
        # Each wave counts twice in the inverse transform of a real series, hence 4 in the variance.
        terms = 1 + 4 * self.waves if self.periodic else 1
        nn.init.trunc_normal_(self.table, std=std / terms**0.5)

    def forward(self) -> torch.Tensor:
        """[rows * columns, dim]."""
        if not self.periodic:
            return self.table.flatten(0, 1)
        cosine, sine = self.table.float().split([self.waves + 1, self.waves], dim=1)
        spectrum = torch.complex(cosine, F.pad(sine, (0, 0, 1, 0)))
        return torch.fft.irfft(spectrum, n=self.columns, dim=1, norm="forward").flatten(0, 1)
