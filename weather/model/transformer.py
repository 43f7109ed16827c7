"""WeatherTransformer: past states in, the next state out.

Shapes: B batch, T past states, C channels, h x w the grid, N = T * rows * columns tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from weather.config.schema import ModelSection
from weather.model.attention import choose_attention
from weather.model.layers import EncoderBlock, LayerNorm, SpacePositions
from weather.model.lead import LeadEmbedding, Modulation, modulate
from weather.model.recomputation import recomputed


def token_grid(img_size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches: those of the nearest grid that the patch divides."""
    rows, columns = (max(1, round(points / patch_size)) for points in img_size)
    return rows, columns


class WeatherTransformer(nn.Module):
    """A pre-norm Vision Transformer (Dosovitskiy et al. 2021) whose tokens attend across space and time.

    Where the patch does not divide the grid (721 rows), the input is resampled bilinearly to the nearest grid that it
    does divide and the decoded fields are resampled back, so that no row is left out and the forecast has the size of
    the input.

    Args:
        section: the model section of a config, with grid and channels resolved (no `auto`).
        device_type, compute_dtype: what attention will run on, to choose its kernel.
    """

    def __init__(
        self, section: ModelSection, *, device_type: str = "cpu", compute_dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        assert section.img_size != "auto" and section.input_channels != "auto" and section.output_channels != "auto"
        dim, patch = section.embed_dim, section.patch_size
        self.grid = section.img_size
        self.tokens_rc = token_grid(section.img_size, patch)
        self.patched_grid = (self.tokens_rc[0] * patch, self.tokens_rc[1] * patch)
        self.patch, self.sequence_length = patch, section.sequence_length
        self.embedded_channels, self.output_channels = section.embedded_channels, section.output_channels
        self.persistence_at_start = section.predict == "tendency"
        #: Whether the tendency is added here; one that has another unit is for the caller to scale and add.
        self.tendency = self.persistence_at_start and section.tendency_scale == "state"
        self.lead_conditioning = section.lead_conditioning
        self.attention_kernel, self.attention_fallback = choose_attention(
            section.attention,
            device_type=device_type,
            compute_dtype=compute_dtype,
            head_dim=dim // section.num_heads,
        )
        self.embedding = nn.Linear(section.embedded_channels * patch**2, dim)
        self.space_positions = SpacePositions(*self.tokens_rc, dim, periodic=section.periodic_longitude)
        self.time_positions = nn.Parameter(torch.zeros(section.sequence_length, 1, dim))
        self.dropout = nn.Dropout(section.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                dim,
                section.num_heads,
                mlp_hidden=mlp_hidden(section),
                qkv_bias=section.qkv_bias,
                qk_norm=section.qk_norm,
                dropout=section.dropout,
                attention_dropout=section.attention_dropout,
                stochastic_depth=section.stochastic_depth * layer / max(1, section.num_layers - 1),
                kernel=self.attention_kernel,
                recompute=section.activation_checkpointing,
                lead=section.lead_conditioning,
            )
            for layer in range(section.num_layers)
        )
        if section.lead_conditioning:
            self.lead_embedding = LeadEmbedding(dim)
            self.lead_modulation = Modulation(dim, 2)
        self.norm = LayerNorm(dim)
        self.head = nn.Linear(dim, section.output_channels * patch**2)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Truncated normal 0.02 for matrices and positions, zero biases.

        The projections that end a residual branch are scaled by 1 / sqrt(2 * layers), so that the sum over blocks
        starts at unit scale (Radford et al. 2019). A tendency head starts at zero: the first forecast is persistence.
        So does what the lead modulates.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        for block in self.blocks:
            assert isinstance(block, EncoderBlock)
            for linear in (block.attention.output, block.mlp.contract):
                nn.init.trunc_normal_(linear.weight, std=0.02 / (2 * len(self.blocks)) ** 0.5)
        self.space_positions.reset_parameters(0.02)
        nn.init.trunc_normal_(self.time_positions, std=0.02)
        if self.persistence_at_start:
            nn.init.zeros_(self.head.weight)
        for module in self.modules():
            if isinstance(module, Modulation):
                module.reset_parameters()

    def forward(
        self, x_BTChw: torch.Tensor, lead_hours_B: torch.Tensor | None = None, recompute: bool = False
    ) -> torch.Tensor:
        """Forecast [B, output channels, h, w] in float32 from normalised past states [B, T, C, h, w], oldest first.

        C counts the extra inputs too; they stand behind the channels of the archive.
        With `tendency_scale: difference` it is the difference from the newest state, in its own unit.

        Args:
            lead_hours_B: lead of each forecast, for a model with `lead_conditioning`; None: 6 h, for those who measure
                a model and do not forecast with it.
            recompute: keep the input only, and run the forecast a second time in the backward pass.
        """
        leads = () if lead_hours_B is None else (lead_hours_B,)
        return recomputed(self.forecast, x_BTChw, *leads, mode="full" if recompute else "none")

    def forecast(self, x_BTChw: torch.Tensor, lead_hours_B: torch.Tensor | None = None) -> torch.Tensor:
        """What `forward` gives, everything kept for the backward pass."""
        tokens_BND, lead_BD = self.dropout(self.embed(x_BTChw)), self.embed_lead(x_BTChw, lead_hours_B)
        for block in self.blocks:
            tokens_BND = block(tokens_BND, lead_BD)
        # The newest state's tokens have attended to all others; the forecast is read off them.
        newest_BND = self.norm(tokens_BND[:, -self.tokens_rc[0] * self.tokens_rc[1] :])
        if lead_BD is not None:
            newest_BND = modulate(newest_BND, *self.lead_modulation(lead_BD))
        forecast = self.decode(self.head(newest_BND)).float()
        return x_BTChw[:, -1, : self.output_channels] + forecast if self.tendency else forecast

    def embed_lead(self, x_BTChw: torch.Tensor, lead_hours_B: torch.Tensor | None) -> torch.Tensor | None:
        """Vectors [B, D] of the leads; None for a model without `lead_conditioning`."""
        if not self.lead_conditioning:
            return None
        if lead_hours_B is None:
            lead_hours_B = x_BTChw.new_full((len(x_BTChw),), 6.0)
        embedded: torch.Tensor = self.lead_embedding(lead_hours_B)
        return embedded

    def embed(self, x_BTChw: torch.Tensor) -> torch.Tensor:
        """Patches to tokens [B, N, D] with their positions in space and time."""
        batch, times, channels = x_BTChw.shape[:3]
        rows, columns = self.tokens_rc
        if self.patched_grid != self.grid:
            x_BTChw = resample(x_BTChw.flatten(0, 1), self.patched_grid).unflatten(0, (batch, times))
        patches = x_BTChw.reshape(batch, times, channels, rows, self.patch, columns, self.patch)
        patches = patches.permute(0, 1, 3, 5, 2, 4, 6).reshape(batch, times, rows * columns, -1)
        # The residual stream stays in float32, also where a strategy keeps the weights to compute with in 16 bits.
        positions = (self.space_positions() + self.time_positions).float()
        return (self.embedding(patches) + positions).flatten(1, 2)

    def decode(self, patches_BNP: torch.Tensor) -> torch.Tensor:
        """Patches [B, rows * columns, channels * patch * patch] to fields [B, channels, h, w]."""
        rows, columns = self.tokens_rc
        fields = patches_BNP.unflatten(2, (self.output_channels, self.patch, self.patch)).unflatten(1, (rows, columns))
        fields_BChw = fields.permute(0, 3, 1, 4, 2, 5).reshape(-1, self.output_channels, *self.patched_grid)
        return fields_BChw if self.patched_grid == self.grid else resample(fields_BChw, self.grid)


def mlp_hidden(section: ModelSection) -> int:
    """Hidden width of the MLP."""
    return round(section.embed_dim * section.mlp_ratio)


def resample(fields_BChw: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Bilinear resampling to another grid over the same area; longitude is continued across the date line."""
    columns = fields_BChw.shape[-1]
    if columns == grid[1]:
        return F.interpolate(fields_BChw, grid, mode="bilinear", align_corners=False)
    # Repeat a margin on both sides, resample at the same spacing, cut the margin off again.
    margin_in = columns
    wrapped = F.pad(fields_BChw, (margin_in, margin_in, 0, 0), mode="circular")
    wide = F.interpolate(wrapped, (grid[0], 3 * grid[1]), mode="bilinear", align_corners=False)
    return wide[..., grid[1] : 2 * grid[1]]
