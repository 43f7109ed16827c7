"""The one place where attention is computed: flash-attn, PyTorch's fused kernels, or plain matrix products.

`math` is the definition; the others must agree with it. A choice that the machine cannot serve falls back with a
stated reason (`choose_attention` returns it), never silently.
"""

from __future__ import annotations

import importlib

import torch
import torch.nn.functional as F

from weather.errors import ConfigError


def choose_attention(requested: str, *, device_type: str, compute_dtype: torch.dtype, head_dim: int) -> tuple[str, str]:
    """The kernel to use and, where that is not what was asked for, the reason.

    Args:
        requested: auto | flash_attn | sdpa | math.
        compute_dtype: type of queries inside autocast.
        head_dim: width of a head.

    Returns:
        (kernel, reason): kernel is flash_attn, sdpa or math; reason is empty if the request is served.
    """
    if requested not in ("auto", "flash_attn", "sdpa", "math"):
        raise ConfigError(f"model.attention = {requested!r}", rule="auto, flash_attn, sdpa or math")
    if requested in ("sdpa", "math"):
        return requested, ""
    obstacle = flash_attn_obstacle(device_type, compute_dtype, head_dim)
    if not obstacle:
        return "flash_attn", ""
    return "sdpa", "" if requested == "auto" else f"attention falls back from flash_attn to sdpa: {obstacle}"


def flash_attn_obstacle(device_type: str, compute_dtype: torch.dtype, head_dim: int) -> str:
    """Why flash-attn cannot serve these tensors on this machine; empty if it can."""
    if device_type != "cuda":
        return f"flash-attn needs a CUDA or ROCm device, not {device_type}"
    if compute_dtype not in (torch.float16, torch.bfloat16):
        return f"flash-attn computes in fp16 or bf16, not {str(compute_dtype).removeprefix('torch.')}"
    if head_dim > 256 or head_dim % 8:
        return f"flash-attn needs a head width of at most 256 that 8 divides, not {head_dim}"
    if torch.cuda.is_available() and torch.version.hip is None and torch.cuda.get_device_capability() < (8, 0):
        return "flash-attn needs an NVIDIA device of compute capability 8.0 (Ampere) or newer"
    try:
        importlib.import_module("flash_attn")
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "flash_attn":
            return "the package flash-attn is not installed (pip install flash-attn)"
        # Built for another torch or driver: an undefined symbol, a missing library.
        return f"the package flash-attn does not import ({error})"
    return ""


def attend(
    query_BHND: torch.Tensor, key_BHND: torch.Tensor, value_BHND: torch.Tensor, *, kernel: str, dropout: float
) -> torch.Tensor:
    """softmax(Q K^T / sqrt(D)) V over all tokens (Vaswani et al. 2017, eq. 1).

    Args:
        query_BHND, key_BHND, value_BHND: [batch, heads, tokens, head width].
        kernel: flash_attn | sdpa | math.
        dropout: rate in effect now; the caller passes 0 outside training, for the kernels drop whenever it is > 0.

    Returns:
        [batch, heads, tokens, head width].
    """
    if kernel == "sdpa":
        return F.scaled_dot_product_attention(query_BHND, key_BHND, value_BHND, dropout_p=dropout)
    if kernel == "math":
        scores_BHNN = (query_BHND * query_BHND.shape[-1] ** -0.5) @ key_BHND.transpose(-2, -1)
        weights_BHNN = F.dropout(scores_BHNN.float().softmax(dim=-1).to(value_BHND.dtype), dropout)
        return weights_BHNN @ value_BHND
    from flash_attn import flash_attn_func

    query_BNHD, key_BNHD, value_BNHD = (x.transpose(1, 2) for x in (query_BHND, key_BHND, value_BHND))
    return flash_attn_func(query_BNHD, key_BNHD, value_BNHD, dropout_p=dropout).transpose(1, 2)
