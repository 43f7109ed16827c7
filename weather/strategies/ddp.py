"""Replicated model, gradients averaged over the ranks (torch DistributedDataParallel)."""

from __future__ import annotations

import contextlib

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel as TorchDistributedDataParallel

from weather.model.transformer import WeatherTransformer
from weather.strategies.base import BuildModel, BuildOptimizer, Strategy


class DistributedDataParallel(Strategy):
    """Every rank holds the whole model; gradients are reduced bucket by bucket during the last backward pass."""

    name = "ddp"

    def setup(self, build_model: BuildModel, build_optimizer: BuildOptimizer) -> None:
        super().setup(build_model, build_optimizer)
        self._settle_buckets()

    def _settle_buckets(self) -> None:
        """Let the gradient buckets take their final order before the first step.

        Torch orders them anew after the first backward passes of a process: of one, or of two with a static graph.
        With three ranks or more the order of summation depends on an element's place in its bucket, so a resumed run
        would otherwise differ in the last bit from one that was never stopped.
        """
        size = (self.batches.micro_batch, self.model.sequence_length, self.model.embedded_channels, *self.model.grid)
        for _ in range(2):
            with self.device.autocast():
                forecast = self.module(torch.zeros(size, device=self.device.torch_device))
            forecast.sum().backward()
            self.optimizer.zero_grad(set_to_none=True)

    def wrap(self, model: nn.Module) -> nn.Module:
        on_gpu = self.device.torch_device.type == "cuda"
        return TorchDistributedDataParallel(
            model,
            device_ids=[self.device.torch_device.index] if on_gpu else None,
            # Gradients live in the communication buckets: one copy less of them in memory and in time.
            gradient_as_bucket_view=True,
            # Every parameter has a gradient in every pass, and in the same order.
            static_graph=True,
        )

    @property
    def model(self) -> WeatherTransformer:
        assert isinstance(self.module.module, WeatherTransformer)
        return self.module.module

    def gradient_sync(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        assert isinstance(self.module, TorchDistributedDataParallel)
        return contextlib.nullcontext() if is_last else self.module.no_sync()

    def close(self) -> None:
        """Let go of the gradient buckets before the process group.

        They hold a reference to it. If theirs were the last, its end would wait for gloo's threads while it keeps
        Python's interpreter lock, and a thread that still drops a tensor waits for that lock: a process that has done
        all its work would never end.
        """
        if hasattr(self, "module"):
            del self.module.reducer, self.module.logger
