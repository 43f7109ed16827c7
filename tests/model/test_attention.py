"""Every attention kernel against `math`, and `math` against its definition; what cannot be served says why."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.model.tiny import lively_model, random_states, tiny_model, tiny_section
from weather.errors import ConfigError
from weather.model.attention import attend, choose_attention
from weather.model.layers import SelfAttention

SHAPES = [(1, 1, 1, 8), (2, 3, 17, 8), (1, 2, 130, 24), (2, 1, 64, 64)]  # batch, heads, tokens, head width

needs_flash_attn = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("flash_attn") is None, reason="needs a GPU and flash-attn"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def query_key_value(
    shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device=device, dtype=dtype).requires_grad_() for _ in range(3)]


def output_and_gradients(
    kernel: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> list[torch.Tensor]:
    """Attention's output and its gradients with respect to queries, keys and values."""
    inputs = query_key_value(shape, dtype, device)
    output = attend(*inputs, kernel=kernel, dropout=0.0)
    upstream = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(output)
    return [output.detach(), *torch.autograd.grad(output, inputs, upstream)]


@pytest.mark.parametrize("shape", SHAPES)
def test_math_is_softmax_of_scaled_products(shape: tuple[int, ...]) -> None:
    inputs = query_key_value(shape)
    query, key, value = (tensor.detach().double().numpy() for tensor in inputs)
    scores = query @ key.swapaxes(-2, -1) / np.sqrt(shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    output = attend(*inputs, kernel="math", dropout=0.0).detach()
    # float32: sums of up to 130 products of numbers near 1, each rounded at 6e-8.
    np.testing.assert_allclose(output, weights @ value, atol=5e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_sdpa_agrees_with_math(shape: tuple[int, ...]) -> None:
    # Both in float32; the fused kernel sums in blocks, which reorders up to 130 terms near 1.
    for fused, defined in zip(output_and_gradients("sdpa", shape), output_and_gradients("math", shape), strict=True):
        torch.testing.assert_close(fused, defined, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_sdpa_agrees_with_math_in_bfloat16(shape: tuple[int, ...]) -> None:
    # 8 bits: a value near 1 is rounded by up to 0.004, the scores, the weights and the output each once.
    pairs = zip(
        output_and_gradients("sdpa", shape, torch.bfloat16),
        output_and_gradients("math", shape, torch.bfloat16),
        strict=True,
    )
    for fused, defined in pairs:
        torch.testing.assert_close(fused, defined, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
def test_kernels_agree_inside_the_layer(normalize: bool, autocast: bool) -> None:
    tokens = torch.randn(2, 20, 32, generator=torch.Generator().manual_seed(0))
    upstream = torch.randn(2, 20, 32, generator=torch.Generator().manual_seed(1))
    results = []
    for kernel in ("math", "sdpa"):
        torch.manual_seed(2)
        layer = SelfAttention(32, 4, bias=True, normalize=normalize, dropout=0.0, kernel=kernel)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            output = layer(tokens)
        output.float().backward(upstream)
        gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
        assert not [name for name, gradient in gradients.items() if gradient is None]
        results.append([output.detach(), *gradients.values()])
    # float32 rounds sums of 40 tokens at 6e-8 each; bfloat16 rounds every product at 0.4 %, gradients are sums of them.
    tolerance = {"atol": 0.1, "rtol": 0.05} if autocast else {"atol": 2e-5, "rtol": 1e-4}
    for defined, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, defined, **tolerance)


@pytest.mark.parametrize("kernel", ["math", "sdpa"])
def test_dropout_drops_weights_and_keeps_their_mean(kernel: str) -> None:
    torch.manual_seed(0)
    query, key, value = (tensor.detach() for tensor in query_key_value((1, 1, 6, 8)))
    repeated = [tensor.expand(4000, 1, 6, 8) for tensor in (query, key, value)]
    dropped = attend(*repeated, kernel=kernel, dropout=0.5)
    assert dropped.std(dim=0).amin() > 0
    whole = attend(query, key, value, kernel=kernel, dropout=0.0)
    # A weighted mean of numbers up to 2.5 with half its weights gone scatters by about 1: 4 / sqrt(4000) is 0.06.
    torch.testing.assert_close(dropped.mean(dim=0, keepdim=True), whole, atol=0.08, rtol=0)


@pytest.mark.parametrize("normalize", [False, True])
def test_kernels_agree_in_the_model(normalize: bool) -> None:
    section = tiny_section(sequence_length=2)
    forecasts = [
        lively_model(attention=kernel, sequence_length=2, qk_norm=normalize)(random_states(section))
        for kernel in ("math", "sdpa", "auto")
    ]
    # float32 rounding through a few layers of width 16.
    for forecast in forecasts[1:]:
        torch.testing.assert_close(forecast, forecasts[0], atol=2e-5, rtol=1e-4)


# --- the choice ---


def choose(requested: str, device_type: str = "cuda", dtype: torch.dtype = torch.bfloat16, head_dim: int = 64) -> tuple:
    return choose_attention(requested, device_type=device_type, compute_dtype=dtype, head_dim=head_dim)


@pytest.fixture
def stand_in_flash_attn(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module `flash_attn` with flash-attn's interface, [batch, tokens, heads, head width], computed by PyTorch."""

    def flash_attn_func(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, dropout_p: float = 0.0
    ) -> torch.Tensor:
        swapped = (tensor.transpose(1, 2) for tensor in (query, key, value))
        return F.scaled_dot_product_attention(*swapped, dropout_p=dropout_p).transpose(1, 2)

    module = ModuleType("flash_attn")
    module.__spec__ = importlib.util.spec_from_loader("flash_attn", loader=None)
    module.flash_attn_func = flash_attn_func  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    return module


@pytest.fixture
def no_flash_attn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)  # type: ignore[arg-type]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'xformers'.*auto, flash_attn, sdpa or math"):
        choose("xformers")


@pytest.mark.parametrize("requested", ["sdpa", "math"])
def test_kernels_of_torch_are_served_everywhere(requested: str) -> None:
    for device_type in ("cpu", "cuda", "mps"):
        assert choose(requested, device_type, torch.float32, head_dim=7) == (requested, "")


@pytest.mark.parametrize(
    ("device_type", "dtype", "head_dim", "reason"),
    [
        ("cpu", torch.bfloat16, 64, "needs a CUDA or ROCm device, not cpu"),
        ("mps", torch.float32, 64, "needs a CUDA or ROCm device, not mps"),
        ("cuda", torch.float32, 64, "computes in fp16 or bf16, not float32"),
        ("cuda", torch.bfloat16, 264, "at most 256 that 8 divides, not 264"),
        ("cuda", torch.bfloat16, 20, "at most 256 that 8 divides, not 20"),
    ],
)
def test_flash_attn_falls_back_with_a_reason(
    stand_in_flash_attn: ModuleType, device_type: str, dtype: torch.dtype, head_dim: int, reason: str
) -> None:
    kernel, said = choose("flash_attn", device_type, dtype, head_dim)
    assert kernel == "sdpa"
    assert "falls back from flash_attn to sdpa" in said
    assert reason in said
    assert choose("auto", device_type, dtype, head_dim) == ("sdpa", ""), "auto promised no kernel"


def test_flash_attn_that_is_not_installed_says_how_to_get_it(no_flash_attn: None) -> None:
    kernel, said = choose("flash_attn")
    assert kernel == "sdpa"
    assert "pip install flash-attn" in said
    assert choose("auto") == ("sdpa", "")


def test_flash_attn_that_does_not_import_falls_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A build for another torch is there but fails with an undefined symbol: common, and no reason to lose a run.
    (tmp_path / "flash_attn.py").write_text("raise ImportError('flash_attn_2_cuda.so: undefined symbol')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "flash_attn", raising=False)
    kernel, said = choose("flash_attn")
    assert kernel == "sdpa"
    assert "undefined symbol" in said
    assert choose("auto") == ("sdpa", "")


def test_flash_attn_is_taken_where_it_serves(stand_in_flash_attn: ModuleType) -> None:
    assert choose("flash_attn") == ("flash_attn", "")
    assert choose("auto", dtype=torch.float16) == ("flash_attn", "")


def test_flash_attn_gets_its_own_order_of_dimensions(stand_in_flash_attn: ModuleType) -> None:
    for flash, defined in zip(
        output_and_gradients("flash_attn", (2, 3, 17, 8)), output_and_gradients("math", (2, 3, 17, 8)), strict=True
    ):
        torch.testing.assert_close(flash, defined, atol=1e-5, rtol=1e-5)  # as sdpa above, which stands in


def test_the_model_says_what_attention_it_fell_back_from() -> None:
    model = tiny_model(attention="flash_attn")
    assert model.attention_kernel == "sdpa"
    assert "falls back from flash_attn to sdpa" in model.attention_fallback
    assert {block.attention.kernel for block in model.blocks} == {"sdpa"}
    assert tiny_model(attention="auto").attention_fallback == ""


@needs_flash_attn
@pytest.mark.parametrize("shape", [(2, 3, 17, 8), (1, 2, 130, 24), (2, 1, 64, 64)])
def test_flash_attn_agrees_with_math(shape: tuple[int, ...]) -> None:
    pairs = zip(
        output_and_gradients("flash_attn", shape, torch.bfloat16, "cuda"),
        output_and_gradients("math", shape, torch.bfloat16, "cuda"),
        strict=True,
    )
    for flash, defined in pairs:
        torch.testing.assert_close(flash, defined, atol=0.05, rtol=0.05)  # bfloat16, as above


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sdpa_agrees_with_math_on_a_gpu(dtype: torch.dtype) -> None:
    tolerance = 1e-4 if dtype == torch.float32 else 0.05  # sums in another order; bfloat16 as above
    pairs = zip(
        output_and_gradients("sdpa", (2, 3, 130, 64), dtype, "cuda"),
        output_and_gradients("math", (2, 3, 130, 64), dtype, "cuda"),
        strict=True,
    )
    for fused, defined in pairs:
        torch.testing.assert_close(fused, defined, atol=tolerance, rtol=tolerance)
