"""With recomputed forecasts, a rollout's memory grows by the states between them: every storage is counted."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from weather.config.schema import ModelSection
from weather.model.transformer import WeatherTransformer


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensors that are made inside and not yet freed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage()._cdata not in self.known:
                storage = tensor.untyped_storage()
                self.known.add(storage._cdata)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return made

    def _freed(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def peak(forecasts: int, *, recompute: bool, **options: Any) -> int:
    """Bytes that a training step takes at most beside its weights and its input."""
    torch.manual_seed(0)
    section = {"embed_dim": 16, "num_layers": 2, "num_heads": 2, "patch_size": 2, "img_size": (8, 16)}
    model = WeatherTransformer(ModelSection(**section, input_channels=2, output_channels=2, **options))  # type: ignore[arg-type]
    states, memory = torch.randn(1, 1, 2, 8, 16), PeakMemory()
    with memory:
        losses = []
        for _ in range(forecasts):
            forecast = model(states, None, recompute)
            losses.append(forecast.square().mean())
            states = forecast[:, None]
        torch.stack(losses).mean().backward()
    return memory.peak


def test_memory_grows_by_the_states_between_the_forecasts() -> None:
    state = 4 * 2 * 8 * 16  # bytes
    kept = {forecasts: peak(forecasts, recompute=False) for forecasts in (1, 2, 4)}
    recomputed = {forecasts: peak(forecasts, recompute=True) for forecasts in (2, 4)}
    activations = kept[2] - kept[1]
    assert activations > 30 * state, "what one forecast keeps"
    assert abs(kept[4] - kept[2] - 2 * activations) < 2 * state
    # The forecast, and what its loss keeps.
    assert 2 * state <= recomputed[4] - recomputed[2] <= 8 * state
