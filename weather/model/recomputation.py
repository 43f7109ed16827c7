"""Activation checkpointing: trade memory for a second forward pass during backward (Chen et al. 2016)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

# Outputs worth keeping: attention is the costliest to recompute, and its output is as small as any activation.
ATTENTION_OPERATORS = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
)


def recomputed(function: Callable[..., torch.Tensor], *inputs: torch.Tensor, mode: str) -> torch.Tensor:
    """`function(*inputs)`, keeping fewer activations for the backward pass.

    Args:
        mode: none (keep all), full (keep inputs only), selective (keep inputs and attention outputs). Gradients are
            the same.
    """
    if mode == "none" or not torch.is_grad_enabled():
        return function(*inputs)
    if mode == "full":
        return checkpoint(function, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    kept = [getattr(torch.ops.aten, name).default for name in ATTENTION_OPERATORS]
    if hasattr(torch.ops.flash_attn, "_flash_attn_forward"):  # registered once the package is imported
        kept.append(torch.ops.flash_attn._flash_attn_forward.default)
    contexts = functools.partial(create_selective_checkpoint_contexts, kept)
    return checkpoint(function, *inputs, use_reentrant=False, context_fn=contexts)  # type: ignore[no-any-return]
