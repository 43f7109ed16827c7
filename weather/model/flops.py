"""Parameters and FLOPs of the model, counted from its config alone.

A FLOP is one multiplication or addition of a matrix product: a product [m, k] x [k, n] costs 2 m k n. Attention's two
products are counted, norms, softmax, activations and resampling are not (they are no matrix products). The backward
pass costs twice the forward pass; recomputation under activation checkpointing is not counted, for it is a price of
memory, not of learning (the convention of Kaplan et al. 2020 and Hoffmann et al. 2022, appendix F).
"""

from __future__ import annotations

from dataclasses import dataclass

from weather.config.schema import ModelSection
from weather.model.layers import SpacePositions
from weather.model.lead import lead_flops, lead_parameters
from weather.model.transformer import mlp_hidden, token_grid


@dataclass(frozen=True)
class ModelCost:
    """What a model costs.

    Attributes:
        parameters: all trainable ones.
        embedding_parameters: those of patch embedding, positions and the embedding of the lead.
        tokens: in one sample.
        forward_flops: of one sample, forward pass.
    """

    parameters: int
    embedding_parameters: int
    tokens: int
    forward_flops: int

    @property
    def non_embedding_parameters(self) -> int:
        return self.parameters - self.embedding_parameters

    @property
    def train_flops(self) -> int:
        """Of one sample, forward and backward."""
        return 3 * self.forward_flops


def model_cost(section: ModelSection) -> ModelCost:
    """Cost of a model whose grid and channels are resolved (no `auto`)."""
    assert section.img_size != "auto" and section.input_channels != "auto" and section.output_channels != "auto"
    dim, hidden, layers = section.embed_dim, mlp_hidden(section), section.num_layers
    rows, columns = token_grid(section.img_size, section.patch_size)
    tokens_in_state = rows * columns
    tokens = tokens_in_state * section.sequence_length
    patch_inputs = section.embedded_channels * section.patch_size**2
    patch_outputs = section.output_channels * section.patch_size**2
    waves = min(SpacePositions.WAVES, (columns - 1) // 2)
    position_columns = 2 * waves + 1 if section.periodic_longitude else columns

    norm = 2 * dim
    query_key_value = 3 * dim * dim + 2 * dim * section.qkv_bias
    query_key_norms = 4 * (dim // section.num_heads) if section.qk_norm else 0
    attention = query_key_value + query_key_norms + dim * (dim + 1)
    mlp = hidden * (dim + 1) + dim * (hidden + 1)
    embedding = dim * (patch_inputs + 1) + dim * (rows * position_columns + section.sequence_length)
    head = patch_outputs * (dim + 1)

    lead_embedding, modulation = lead_parameters(dim, layers) if section.lead_conditioning else (0, 0)
    embedding += lead_embedding

    linear_flops = 2 * tokens * (4 * dim * dim + 2 * dim * hidden)
    attention_flops = 2 * 2 * tokens * tokens * dim
    embedding_flops = 2 * tokens * patch_inputs * dim
    head_flops = 2 * tokens_in_state * dim * patch_outputs
    conditioning_flops = lead_flops(dim, layers) if section.lead_conditioning else 0
    return ModelCost(
        parameters=embedding + layers * (2 * norm + attention + mlp) + modulation + norm + head,
        embedding_parameters=embedding,
        tokens=tokens,
        forward_flops=layers * (linear_flops + attention_flops) + embedding_flops + head_flops + conditioning_flops,
    )
