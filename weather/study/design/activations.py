"""What a forward pass keeps for the backward pass, and what the backward pass needs beside it, in bytes.

Counted tensor by tensor from `weather.model.layers`, as Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) do for
their transformer; theirs has dropout and 16-bit residuals, this one 32-bit residuals and projections of its own for
queries, keys and values. Symbols: B micro-batch, N tokens, D width, H heads, M hidden width, s bytes of a number in
the compute precision.
"""

from __future__ import annotations

from dataclasses import dataclass

from weather.config.schema import ModelSection
from weather.model.transformer import mlp_hidden, token_grid

FULL = 4  # bytes of a float32 number


@dataclass(frozen=True)
class Activations:
    """Bytes on one rank.

    Attributes:
        saved: at the end of the forward pass, for the backward pass.
        working: beside them at the height of the backward pass: gradients of activations, and the one block that is
            computed again where activations are not kept.
    """

    saved: int
    working: int


def activations(section: ModelSection, batch: int, *, number_bytes: int, kernel: str, device_type: str) -> Activations:
    """Of one micro-batch.

    Args:
        section: resolved (no `auto`).
        batch: B.
        number_bytes: s, 4 or 2.
        kernel: of attention: flash_attn, sdpa or math.
        device_type: cpu or cuda; decides how dropout masks are kept.
    """
    assert section.img_size != "auto" and section.input_channels != "auto" and section.output_channels != "auto"
    rows, columns = token_grid(section.img_size, section.patch_size)
    newest = batch * rows * columns
    tokens = newest * section.sequence_length
    dim, patch = section.embed_dim, section.patch_size**2
    latitudes, longitudes = section.img_size
    block = _block(section, batch, tokens, number_bytes, kernel, device_type)
    kept = {
        "none": block,
        "full": FULL * tokens * dim,
        "selective": FULL * tokens * dim + _attention_output(section, tokens, number_bytes, kernel, device_type),
    }[section.activation_checkpointing]
    # Its input is among what is kept.
    again = 0 if section.activation_checkpointing == "none" else block - FULL * tokens * dim
    around = number_bytes * tokens * section.embedded_channels * patch  # patches, input of the embedding
    around += _mask(section.dropout, FULL, device_type) * tokens * dim  # after the embedding
    around += FULL * tokens * dim + 2 * FULL * newest  # input of the last norm, and its mean and deviation
    around += number_bytes * newest * dim  # input of the head
    around += FULL * batch * section.output_channels * latitudes * longitudes  # forecast - target, squared in the loss
    return Activations(
        around + section.num_layers * kept, again + _working(section, batch, tokens, number_bytes, kernel)
    )


def _block(section: ModelSection, batch: int, tokens: int, size: int, kernel: str, device_type: str) -> int:
    """What one block keeps: 16 tensors [B, N, D] for M = 4 D, and attention's."""
    dim, hidden = section.embed_dim, mlp_hidden(section)
    copies = 1 if size == FULL else 3  # autocast makes a 16-bit input of its own for queries, keys and values
    norms = 2 * (FULL * dim + 2 * FULL)  # their inputs are the residual stream, which stays in float32
    projections = copies * size * dim + 2 * size * dim  # inputs of queries, keys, values, of the output, of the MLP
    mlp = 2 * size * hidden  # input and output of GELU
    residual_masks = 2 * _mask(section.dropout, size, device_type) * dim
    hidden_mask = _mask(section.dropout, size, device_type) * hidden
    per_token = norms + projections + mlp + residual_masks + hidden_mask
    return tokens * per_token + _attention(section, batch, tokens, size, kernel, device_type)


def _attention(section: ModelSection, batch: int, tokens: int, size: int, kernel: str, device_type: str) -> int:
    """What attention keeps: Q, K, V, and for fused kernels the sum of exponentials of each query (Dao et al. 2022)."""
    dim, heads = section.embed_dim, section.num_heads
    normalized = 2 * FULL * tokens * (dim + 2 * heads) if section.qk_norm else 0  # inputs of both norms, and statistics
    if _is_fused(section, kernel, device_type):
        # With normalized queries the output has their layout, and the projection after it takes a copy.
        copy = size * tokens * dim if section.qk_norm else 0
        return normalized + 3 * size * tokens * dim + FULL * tokens * heads + copy
    if kernel == "sdpa":
        size = FULL  # PyTorch's own fallback on CPU computes in float32
    # The softmax in float32, its 16-bit copy, and with dropout a mask and what is left.
    pair = FULL + (size if size < FULL else 0)
    if section.attention_dropout > 0:
        pair = FULL + size + int(_mask(section.attention_dropout, size, device_type))
    return normalized + 3 * size * tokens * dim + pair * heads * tokens * (tokens // batch)


def _attention_output(section: ModelSection, tokens: int, size: int, kernel: str, device_type: str) -> int:
    """What selective checkpointing keeps of a fused kernel."""
    if not _is_fused(section, kernel, device_type):
        return 0
    return size * tokens * section.embed_dim + FULL * tokens * section.num_heads


def _is_fused(section: ModelSection, kernel: str, device_type: str) -> bool:
    """Whether no matrix [N, N] is kept; PyTorch's fused attention on CPU knows no dropout."""
    return kernel != "math" and not (kernel == "sdpa" and device_type == "cpu" and section.attention_dropout > 0)


def _mask(rate: float, size: int, device_type: str) -> int:
    """Bytes that dropout keeps of a number: a bit in a byte on a GPU, a factor on CPU."""
    return 0 if rate == 0 else 1 if device_type == "cuda" else size


def _working(section: ModelSection, batch: int, tokens: int, size: int, kernel: str) -> int:
    """Gradients of activations at the height of a block's backward pass, which begins with the MLP.

    There, beside two gradients of the size of the residual stream, a gradient of the hidden width. Or, where attention
    is not fused, the gradients of the softmax and of its input, with their 16-bit copies, when what the MLP had kept
    is free again.
    """
    dim, hidden = section.embed_dim, mlp_hidden(section)
    stream = 2 * FULL * tokens * dim
    mlp = size * tokens * hidden
    if kernel != "math":
        return stream + mlp
    copies = 2 * size if size < FULL else 0
    matrices = (2 * FULL + copies) * section.num_heads * tokens * (tokens // batch)
    freed = tokens * (2 * size * hidden + (size + FULL) * dim)
    return stream + max(mlp, matrices - freed)
